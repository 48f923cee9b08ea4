"""Charts: rendered and linted by Helm's own library, and what has to be known of the result."""

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import helm_python
import yaml
from helm_python import Chart, HelmError

Document = dict[str, Any]
HOOK = "helm.sh/hook"


class Failure(Exception):
    """What Helm says when it ends with exit code 1."""


class Pod(NamedTuple):
    """A container of a pod, with what it needs to run."""

    spec: Document
    """Of the pod."""
    container: Document
    labels: dict[str, str]
    annotations: dict[str, str]


def values_of(options: Namespace) -> dict[str, Any]:
    """All values given, a later one over an earlier one: files first, then --set and --set-string."""
    layers: list[dict[str, Any]] = []
    for file in options.values:
        try:
            layers.append(yaml.safe_load(Path(file).read_text()) or {})
        except (OSError, yaml.YAMLError) as error:
            raise Failure(f"failed to read {file}: {error}") from None
    layers += [helm_python.parse_set_string(each) for each in options.set]
    layers += [helm_python.parse_set_string_values(each) for each in options.set_string]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer)
    return merged


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        below[key] = _over(below[key], value) if both else deepcopy(value)
    return below


def lint(path: str, values: dict[str, Any], strict: bool) -> str:
    """What `helm lint` says; a Failure where it finds a fault."""
    report = helm_python.lint(path, values, strict=strict)
    lines = [f"==> Linting {path}"]
    severities = {1: "INFO", 2: "WARNING", 3: "ERROR"}
    lines += [
        f"[{severities.get(one['severity'], 'UNKNOWN')}] {one['path']}: {one['error']}" for one in report["messages"]
    ]
    words = "\n".join([*lines, *report["errors"]])
    if report["errors"]:
        raise Failure(f"{words}\nError: 1 chart(s) linted, 1 chart(s) failed")
    return f"{words}\n\n1 chart(s) linted, 0 chart(s) failed"


def render(path: str, values: dict[str, Any], name: str, namespace: str, revision: int = 1) -> list[Document]:
    """The objects that a chart gives, once its schema has admitted the values."""
    try:
        with Chart.load(path) as chart:
            chart.validate_schema(values)
            texts = chart.render(
                values,
                name=name,
                namespace=namespace,
                revision=revision,
                is_install=revision == 1,
                is_upgrade=revision > 1,
            )
    except HelmError as error:
        raise Failure(str(error)) from None
    documents = [each for file, text in texts.items() if file.endswith(".yaml") for each in yaml.safe_load_all(text)]
    return [each for each in documents if each]


def api(documents: Sequence[Document]) -> Pod:
    """The container that serves."""
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet") and document["metadata"]["name"].endswith("-api"):
            template = document["spec"]["template"]
            [container] = [each for each in template["spec"]["containers"] if each["name"] == "api"]
            return Pod(template["spec"], container, template["metadata"]["labels"], {})
    raise Failure("the chart has no workload -api")


def hooks(documents: Sequence[Document], moment: str) -> Iterator[Pod]:
    """What runs before an installation or an upgrade, or as a test, in order."""

    def weight(document: Document) -> int:
        return int(document["metadata"]["annotations"].get("helm.sh/hook-weight", 0))

    def is_one(document: Document) -> bool:
        annotations = document["metadata"].get("annotations") or {}
        return moment in annotations.get(HOOK, "").split(",") and document["kind"] in ("Job", "Pod")

    for document in sorted(filter(is_one, documents), key=weight):
        spec = document["spec"]["template"]["spec"] if document["kind"] == "Job" else document["spec"]
        for container in spec["containers"]:
            yield Pod(spec, container, {}, document["metadata"]["annotations"])


def config_map(documents: Sequence[Document], name: str) -> dict[str, str]:
    """The content of a ConfigMap."""
    for document in documents:
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] == name:
            content: dict[str, str] = document["data"]
            return content
    raise Failure(f"there is no ConfigMap {name}")


def container_port(pod: Pod, named: str | int) -> int:
    """The number of a port of the container."""
    ports = {each["name"]: each["containerPort"] for each in pod.container["ports"]}
    return int(ports.get(named, named))


def through_service(documents: Sequence[Document], pod: Pod, word: str) -> str:
    """A URL of a Service of the chart as one of the pod behind it; any other word as it is."""
    parts = urlsplit(word)
    for document in documents:
        if document["kind"] != "Service" or parts.hostname != document["metadata"]["name"]:
            continue
        is_behind = document["spec"]["selector"].items() <= pod.labels.items()
        for port in document["spec"]["ports"]:
            if is_behind and port["port"] == (parts.port or 80):
                return f"{parts.scheme}://127.0.0.1:{container_port(pod, port['targetPort'])}{parts.path}"
    return word


def dumped(documents: Sequence[Document]) -> str:
    """As `helm template` prints them."""
    return "".join(f"---\n{yaml.safe_dump(json.loads(json.dumps(each)), sort_keys=False)}" for each in documents)
