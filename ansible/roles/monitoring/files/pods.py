"""Write down which pods Prometheus has to ask, as its file_sd_configs reads it: python3 pods.py PLACES TARGETS.

The distribution's Prometheus is built without discovery in Kubernetes. PLACES is a folder of JSON files, each about one
namespace; TARGETS is the folder to write into. What an API server that does not answer had last stays as it is: pods
that are gone are then seen not to answer, instead of not being missed.
"""

import json
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

PORTS = {"api": "http", "worker": "metrics"}
"""The port with /metrics by the component of the chart."""
SECONDS = 10


def targets(place: dict[str, str], pods: list[dict[str, Any]], component: str) -> list[dict[str, Any]]:
    """What is asked of a component's running pods: each by itself, through the API server."""
    found = []
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        named = (labels.get("app.kubernetes.io/name"), labels.get("app.kubernetes.io/component"))
        if named != (place["slug"], component) or pod["status"].get("phase") != "Running":
            continue
        name = pod["metadata"]["name"]
        ports = [port for each in pod["spec"]["containers"] for port in each.get("ports", ())]
        for number in [port["containerPort"] for port in ports if port.get("name") == PORTS[component]]:
            path = f"/api/v1/namespaces/{place['namespace']}/pods/{name}:{number}/proxy/metrics"
            own = {"instance": name, "namespace": place["namespace"], "__metrics_path__": path}
            own |= {"project": place["slug"], "environment": place["environment"]}
            found.append({"targets": [urlsplit(place["server"]).netloc], "labels": own})
    return sorted(found, key=lambda one: one["labels"]["instance"])


def pods_of(place: dict[str, str]) -> list[dict[str, Any]]:
    """The pods of a namespace.

    Raises:
        OSError: the API server does not answer, or refuses.
    """
    context = ssl.create_default_context(cafile=place["ca_file"]) if place["server"].startswith("https") else None
    token = Path(place["token_file"]).read_text().strip()
    url = f"{place['server']}/api/v1/namespaces/{place['namespace']}/pods"
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=SECONDS, context=context) as response:
        items: list[dict[str, Any]] = json.load(response)["items"]
    return items


def main() -> None:
    """Write the targets of every place; exits with 1 if one of them could not be asked."""
    faults = []
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        place = json.loads(path.read_text())
        try:
            pods = pods_of(place)
        except (OSError, ValueError) as error:
            faults.append(f"{place['server']} does not tell the pods of {place['namespace']}: {error}")
            continue
        for component in PORTS:
            file = Path(sys.argv[2]) / f"{path.stem}{'' if component == 'api' else '-worker'}.json"
            text = json.dumps(targets(place, pods, component), indent=1)
            if not file.exists() or file.read_text() != text:
                part = file.with_suffix(".part")
                part.write_text(text)
                part.replace(file)
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
