"""The role `microk8s`: run against a double of the program, its objects held against Kubernetes and against the chart.

Snaps cannot be installed here, so that what is seen is what the role does, not what MicroK8s does then.
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bake import TEMPLATE
from playbooks import ANSIBLE, INVENTORIES, play
from test_helm import (  # noqa: F401 (fixtures)
    KEDA,
    OPTIONS,
    VERSIONS,
    WORKER,
    Document,
    _schemas_are_read_once,
    containers,
    everything,
    folder,
    pairwise_choices,
    pods,
    project,
    rendered,
)

pytestmark = pytest.mark.t1

ROLE = ANSIBLE / "roles/microk8s"
RULES = yaml.safe_load((ROLE / "vars/main.yml").read_text())
PROJECTS: list[dict[str, Any]] = [
    {
        "slug": "my-model",
        "environments": [
            {
                "name": "staging",
                "quota": {"requests.cpu": "4", "requests.memory": "8Gi", "limits.memory": "16Gi", "pods": "20"},
                "limits": [{"type": "Container", "defaultRequest": {"cpu": "100m"}}],
            },
            {"name": "production"},
        ],
    },
    {"slug": "other", "environments": [{"name": "test", "namespace": "elsewhere"}]},
]
NAMESPACES = ("my-model-staging", "my-model", "elsewhere")
ROLLED_OUT = {"create", "delete", "get", "list", "patch", "update", "watch"}
"""What Helm does with the kinds of a chart, and to wait until they are ready."""
BESIDE = {"secrets", "pods", "pods/log", "events", "replicasets"}
"""Resources that no kind of the chart explains: the role says what each is for."""
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., tuple[int, int, str]]]:
    """Plays a playbook's part of this role on a machine whose MicroK8s is the double."""
    command = tmp_path / "microk8s"
    command.write_text(
        f'#!/bin/sh\nMICROK8S={tmp_path}/state exec {sys.executable} {TEMPLATE}/tests/cluster/microk8s.py "$@"\n'
    )
    command.chmod(0o755)
    (tmp_path / "args/certs.d").mkdir(parents=True)
    (tmp_path / "args/kube-proxy").write_text("--cluster-cidr=10.1.0.0/16\n")
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    with registry() as url:
        variables = {
            "projects": PROJECTS,
            "microk8s_command": str(command),
            "microk8s_directory": f"{tmp_path}/objects",
            "microk8s_arguments": f"{tmp_path}/args",
            "microk8s_credentials": f"{tmp_path}/credentials",
            "microk8s_registry": url,
            "microk8s_registries": [{"host": "registry.example.com:5000", "ca_file": f"{tmp_path}/ca.crt"}],
        }

        def run(entry: str, *options: str, **more: Any) -> tuple[int, int, str]:
            chosen = ["--skip-tags", "microk8s_install"]
            return play(tmp_path, "microk8s", "kubernetes", *chosen, *options, entry=entry, **{**variables, **more})

        yield run


class Registry(BaseHTTPRequestHandler):
    """Says that it is one."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class registry:
    """A registry on the loopback; its URL."""

    def __enter__(self) -> str:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
        Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.slow
def test_a_machine_is_set_up_once_and_verify_sees_what_is_broken_then(
    machine: Callable[..., tuple[int, int, str]], tmp_path: Path
) -> None:
    _, failed, said = machine("main", "--check")
    assert not failed, said
    assert not (tmp_path / "objects").exists()

    changed, failed, said = machine("main", microk8s_keda=True)
    assert changed, said
    assert not failed, said
    assert (tmp_path / "state/restarts").read_text().split() == ["stop", "start"]
    enabled = "dns hostpath-storage ingress registry metrics-server rbac community keda observability"
    assert (tmp_path / "state/enabled").read_text().split() == enabled.split()
    changed, failed, said = machine("main", microk8s_keda=True)
    assert (changed, failed) == (0, 0), said
    changed, failed, said = machine("verify")
    assert (changed, failed) == (0, 0), said

    role = tmp_path / "state/role.my-model-staging.deployer.json"
    right = role.read_text()
    rules = json.loads(right)
    everything_else = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]}
    into_pods = {"apiGroups": [""], "resources": ["pods/exec", "serviceaccounts/token"], "verbs": ["create"]}
    role.write_text(json.dumps({**rules, "rules": [*rules["rules"], everything_else, into_pods]}))
    _, failed, said = machine("verify")
    assert failed == 1
    for excess in ("create roles.rbac", "create pods --subresource=exec", "create serviceaccounts --subresource=token"):
        assert excess in said
    assert "my-model-staging:deployer" not in said, "a token is in no log"
    role.write_text(
        json.dumps({**rules, "rules": [rule for rule in rules["rules"] if "apps" not in rule["apiGroups"]]})
    )
    _, failed, said = machine("verify")
    assert failed == 1
    assert "may not create statefulsets.apps, patch deployments.apps" in " ".join(said.split())
    role.write_text(right)
    (tmp_path / "state/addon-rbac").unlink()
    assert machine("verify")[1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_kubernetes_knows_the_objects_and_jenkins_finds_the_kubeconfigs(
    machine: Callable[..., tuple[int, int, str]], tmp_path: Path, inventory: str
) -> None:
    _, failed, said = machine("main", inventory=inventory)
    assert not failed, said
    for namespace in NAMESPACES:
        documents = list(yaml.safe_load_all((tmp_path / f"objects/{namespace}.yaml").read_text()))
        for document, version in product(documents, VERSIONS):
            kubernetes_validate.validate(document, version, strict=True)
        assert {each["metadata"].get("namespace", namespace) for each in documents} == {namespace}
        assert not any(each["kind"].startswith("Cluster") for each in documents)
    hosts = tomllib.loads((tmp_path / "args/certs.d/registry.example.com:5000/hosts.toml").read_text())
    assert hosts["server"] == "https://registry.example.com:5000"
    assert hosts["host"][hosts["server"]]["ca"].endswith("/ca.crt")
    assert "--nodeport-addresses=127.0.0.0/8" in (tmp_path / "args/kube-proxy").read_text().splitlines()

    credentials = tmp_path / "credentials"
    assert {path.name for path in credentials.iterdir()} == {
        f"{each['slug']}-{purpose}-{environment['name']}"
        for each in PROJECTS
        for environment in each["environments"]
        for purpose in ("kubeconfig", "prometheus")
    }
    for path in credentials.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        made = yaml.safe_load(path.read_text())
        assert made["clusters"][0]["cluster"]["server"].startswith("https://")
        account = "deployer" if "kubeconfig" in path.name else "prometheus"
        assert made["users"][0]["user"]["token"].split(":")[1] == account
        assert made["current-context"] == made["contexts"][0]["name"]
    _, failed, said = machine("remove", inventory=inventory)
    assert not failed, said
    assert list(credentials.iterdir()) == []


def plural(kind: str) -> str:
    """The resource of a kind."""
    name = kind.lower()
    return f"{name}es" if name.endswith("s") else f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def test_the_agent_may_do_what_the_chart_needs_and_nothing_else(rendered: Callable[..., list[Document]]) -> None:  # noqa: F811
    found = {(each["apiVersion"], each["kind"]) for each in everything(rendered)}
    for choices in pairwise_choices():
        workers = [WORKER] if choices[list(OPTIONS).index("workers")] else []
        layers = [OPTIONS[name][choice] for name, choice in zip(OPTIONS, choices, strict=True)]
        found |= {(each["apiVersion"], each["kind"]) for each in rendered(*workers, *layers)}
    needed = {(version.rpartition("/")[0], plural(kind)) for version, kind in found if kind != "Pod"}
    allowed: dict[tuple[str, str], set[str]] = {}
    for rule in RULES["microk8s_deployer_rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                allowed.setdefault((group, resource), set()).update(rule["verbs"])
    assert {
        ("", "configmaps"),
        ("apps", "statefulsets"),
        ("apps", "deployments"),
        ("keda.sh", "scaledobjects"),
    } <= needed
    assert {resource for resource in needed if not allowed.get(resource, set()) >= ROLLED_OUT} == set()
    assert {resource for _, resource in set(allowed) - needed} == BESIDE
    assert {"create", "delete", "get", "watch"} <= allowed["", "pods"], "the smoke test is a pod"
    assert not any("*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]] for rule in
                   [*RULES["microk8s_deployer_rules"], *RULES["microk8s_prometheus_rules"]])  # fmt: skip


def faults(pod: Document) -> list[str]:
    """What the Pod Security Standard `restricted` has against a pod."""
    spec = pod["spec"]
    every = [*spec.get("containers", []), *spec.get("initContainers", [])]
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", ())
              if not set(volume) - {"name"} <= RESTRICTED_VOLUMES]  # fmt: skip
    shared = spec.get("securityContext", {})
    found += ["sysctls"] if shared.get("sysctls") else []
    for container in every:
        own = container.get("securityContext", {})
        merged_context = {**shared, **own}
        checks = {
            "privileged": bool(own.get("privileged")),
            "escalation": own.get("allowPrivilegeEscalation") is not False,
            "root": merged_context.get("runAsNonRoot") is not True or merged_context.get("runAsUser", 1) == 0,
            "seccomp": merged_context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "capabilities": "ALL" not in own.get("capabilities", {}).get("drop", ())
            or not set(own["capabilities"].get("add", ())) <= {"NET_BIND_SERVICE"},
            "host port": any(port.get("hostPort") for port in container.get("ports", ())),
            "proc": own.get("procMount", "Default") != "Default",
        }
        found += [f"{container['name']}: {name}" for name, wrong in checks.items() if wrong]
    return found


def test_a_namespace_takes_the_pods_of_the_chart(rendered: Callable[..., list[Document]]) -> None:  # noqa: F811
    text = (ROLE / "templates/namespace.yaml.j2").read_text()
    assert "pod-security.kubernetes.io/enforce: restricted" in text
    documents = [*everything(rendered), *rendered(WORKER, KEDA, {"persistence": {"enabled": False}})]
    assert set(pods(documents)) == {"api", "worker", "migrations", "smoke"}
    for pod in pods(documents).values():
        assert faults(pod) == []
        assert faults({"spec": {**pod["spec"], "hostNetwork": True}}) == ["hostNetwork"]
    quota = PROJECTS[0]["environments"][0]["quota"]
    for name in set(quota) - {"pods"}:
        purpose, _, resource = name.partition(".")
        for container in containers(documents):
            assert resource in container["resources"][purpose], "a quota has pods without it refused"
