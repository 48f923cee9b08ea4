#!/usr/bin/env python3
"""Stands in for MicroK8s: add-ons, the objects that are applied, tokens, and what these may do, in the folder MICROK8S.

It knows the commands that the role `microk8s` calls and refuses all others. Rights are worked out from the Roles and
RoleBindings that were applied to it, as RBAC does.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import yaml

STATE = Path(os.environ["MICROK8S"])
ADDONS = ("dns", "hostpath-storage", "ingress", "registry", "metrics-server", "rbac", "community", "observability")


def main(words: list[str]) -> int:
    """Do what the command line asks for; its exit code."""
    STATE.mkdir(exist_ok=True)
    match words:
        case ["status", "--wait-ready", "--timeout", _] | ["kubectl", "wait", *_]:
            pass
        case ["status", "--format", "yaml"]:
            print(yaml.safe_dump({"microk8s": {"running": True}, "addons": addons()}))
        case ["enable", name]:
            assert name in {addon["name"] for addon in addons()}, f"no add-on {name}"
            (STATE / f"addon-{name}").touch()
            print(name, file=(STATE / "enabled").open("a"))
        case ["stop" | "start" as what]:
            print(what, file=(STATE / "restarts").open("a"))
        case ["addons", "repo", "update", "core"]:
            print("Already up to date.")
        case ["kubectl", "apply", "--filename", path]:
            for document in yaml.safe_load_all(Path(path).read_text()):
                print(apply(document))
        case ["kubectl", namespace, "get", "secret", name, "--output=json"]:
            print(json.dumps(token(namespace.removeprefix("--namespace="), name)))
        case ["kubectl", "--kubeconfig", "/dev/stdin", "auth", "can-i", *asked]:
            allowed = may(yaml.safe_load(sys.stdin), question(asked))
            print("yes" if allowed else "no")
            return 0 if allowed else 1
        case _:
            sys.exit(f"not a command that is known here: {words}")
    return 0


def addons() -> list[dict[str, str]]:
    """All add-ons with their status; KEDA is of a repository that has to be enabled first."""
    known = [*ADDONS, *(["keda"] if (STATE / "addon-community").exists() else [])]
    return [{"name": name, "status": "enabled" if (STATE / f"addon-{name}").exists() else "disabled"} for name in known]


def place(kind: str, namespace: str, name: str) -> Path:
    """Where an object is kept."""
    return STATE / f"{kind}.{namespace}.{name}.json"


def apply(document: dict[str, Any]) -> str:
    """Keep an object; what kubectl says of it."""
    kind, metadata = document["kind"].lower(), document["metadata"]
    path = place(kind, metadata.get("namespace", ""), metadata["name"])
    namespace = place("namespace", "", metadata.get("namespace", ""))
    assert kind == "namespace" or namespace.exists(), f"no namespace for {path.name}"
    text = json.dumps(document)
    what = "created" if not path.exists() else "unchanged" if path.read_text() == text else "configured"
    path.write_text(text)
    return f"{kind}/{metadata['name']} {what}"


def token(namespace: str, name: str) -> dict[str, Any]:
    """A Secret that was applied, with the token that Kubernetes puts into it."""
    secret: dict[str, Any] = json.loads(place("secret", namespace, name).read_text())
    account = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    assert place("serviceaccount", namespace, account).exists()
    data = {"token": f"{namespace}:{account}", "ca.crt": "-----BEGIN CERTIFICATE-----\n"}
    return {**secret, "data": {key: b64encode(value.encode()).decode() for key, value in data.items()}}


def question(words: list[str]) -> Namespace:
    """What `kubectl auth can-i` is asked: VERB TYPE[.GROUP][/NAME], where what follows the slash is no subresource."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("verb")
    parser.add_argument("resource")
    parser.add_argument("--subresource", default="")
    parser.add_argument("--namespace", "-n")
    asked = parser.parse_args(words)
    asked.resource, _, asked.name = asked.resource.partition("/")
    return asked


def may(kubeconfig: dict[str, Any], question: Namespace) -> bool:
    """Whether the account of a kubeconfig may do something."""
    b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"])
    home, account = kubeconfig["users"][0]["user"]["token"].split(":")
    namespace = question.namespace or kubeconfig["contexts"][0]["context"]["namespace"]
    plural, _, group = question.resource.partition(".")
    asked = f"{plural}/{question.subresource}" if question.subresource else plural
    for path in STATE.glob(f"rolebinding.{namespace}.*.json"):
        binding = json.loads(path.read_text())
        if {"kind": "ServiceAccount", "name": account, "namespace": home} not in binding["subjects"]:
            continue
        role = json.loads(place("role", namespace, binding["roleRef"]["name"]).read_text())
        for rule in role["rules"]:
            groups, resources, verbs = rule["apiGroups"], rule["resources"], rule["verbs"]
            if not {asked, "*"} & set(resources) or not {question.verb, "*"} & set(verbs) or group not in groups:
                continue
            if not rule.get("resourceNames") or question.name in rule["resourceNames"]:
                return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
