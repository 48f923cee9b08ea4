"""A cluster that is none: the program `helm` for tests, which renders with Helm's own library and runs with Docker.

The program `tests/cluster/helm` is found before any other where `variables()` are the environment:

    cluster = Cluster(tmp_path / "cluster", docker_host, {"my-model-staging": free_port()})
    cluster.secret("my-model-staging", "my-model", SERVICE__API__KEYS="key")
    run(["make", "deploy", "ENV=staging"], project, **cluster.variables())
    cluster.remove()

What is real: charts are linted and rendered by Helm 4 (PyPI `helm-python-sdk`) with all the values given, and refused
as Helm refuses them. The container `api` of the workload `-api` runs in the Docker named by DOCKER_HOST: the image that
the chart names, pulled by its digest, with the chart's arguments, variables, config.yaml and Secrets, user 10001, a
read-only file system and no rights. It has to become ready within the timeout, by the chart's readiness probe; until
it is, the one before goes on to serve. Then it answers at the port of the loopback that belongs to its namespace. Jobs
that are hooks run before that, in the same image. `helm test` runs the test pod's command against it, for which the
name and the port of the chart's Service lead to it. Releases have revisions and states as Helm's have, in a folder.

What is not: nothing else of the chart is made. Workers and shippers do not run, there is one pod whatever replicas say,
and a container that ends is not started again: it counts as not ready at once.

A chart's values have to do without PostgreSQL, or migrations fail: `config: {records: {sinks: []}}`.
HELM_DOUBLE_VERSION is what `helm version` says, and decides which of the options of Helm 3 and 4 are known.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


class Cluster:
    """A folder with releases and Secrets, and a port of the loopback for each namespace."""

    def __init__(self, folder: Path, docker_host: str, ports: dict[str, int], version: str = "v4.0.0") -> None:
        self.folder = folder
        self.docker_host = docker_host
        self.ports = ports
        self.version = version
        folder.mkdir(parents=True, exist_ok=True)

    def variables(self) -> dict[str, str]:
        """The environment in which `helm` is this one."""
        return {
            "PATH": os.pathsep.join([str(Path(__file__).parent), os.environ["PATH"]]),
            "DOCKER_HOST": self.docker_host,
            "HELM_DOUBLE_STATE": str(self.folder),
            "HELM_DOUBLE_PORTS": json.dumps(self.ports),
            "HELM_DOUBLE_PYTHON": sys.executable,
            "HELM_DOUBLE_VERSION": self.version,
        }

    def secret(self, namespace: str, name: str, **keys: str) -> None:
        """Make a Secret, as `kubectl create secret generic` does; pods have it when they start."""
        folder = self.folder / namespace / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in keys.items():
            (folder / key).write_text(value)

    def url(self, namespace: str) -> str:
        """Where the release of a namespace answers."""
        return f"http://127.0.0.1:{self.ports[namespace]}"

    def remove(self) -> None:
        """Remove all containers and volumes."""
        labelled = f"--filter=label=helm-double={self.folder}"
        for listing, removal in (
            (["ps", "--all", "--quiet", labelled], ["rm", "--force", "--volumes"]),
            (["volume", "ls", "--quiet", labelled], ["volume", "rm", "--force"]),
        ):
            found = self._docker(*listing).split()
            if found:
                self._docker(*removal, *found)

    def _docker(self, *arguments: str) -> str:
        command = ["docker", "--host", self.docker_host, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
