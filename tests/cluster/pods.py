"""Pods, by Docker: what of a chart is really run."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

from cluster.charts import Document, Failure, Pod, api, config_map, container_port, through_service

RIGHTS = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
LOOK_SECONDS = 0.3
TEMPLATE = "helm-double-template"
"""The label with the digest of what a container was started by."""


class Namespace:
    """The pods of one namespace, at most one of which serves."""

    def __init__(self, state: Path, name: str) -> None:
        self.state = state
        self.name = name
        self.folder = state / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = json.loads(os.environ["HELM_DOUBLE_PORTS"])[name]
        self.serving = f"serving-{state.parent.name}-{state.name}-{name}"

    def roll_out(self, documents: Sequence[Document], seconds: float) -> None:
        """Start what the chart has as its API; once it is ready, it serves instead of what served before.

        Raises:
            Failure: it does not get ready in time. What served before does so still.
        """
        pod, deadline = api(documents), monotonic() + seconds
        template = hashlib.sha256(json.dumps(pod).encode()).hexdigest()
        if self.serves(f"--filter=label={TEMPLATE}={template}"):
            return  # As Kubernetes leaves pods alone whose template is what it was.
        if self.serves():
            tried = self._start(pod, documents)
            try:
                _wait(tried, pod, deadline)
            finally:
                _remove(tried)
        self.stop()
        port = f"--publish=127.0.0.1:{self.port}:{container_port(pod, 'http')}"
        claims = [
            f"--volume={self._claim(mount['name'])}:{mount['mountPath']}"
            for mount in pod.container["volumeMounts"]
            if mount["name"] not in {each["name"] for each in pod.spec["volumes"]}
        ]
        named = (f"--name={self.serving}", f"--label={TEMPLATE}={template}")
        _wait(self._start(pod, documents, *named, port, *claims), pod, deadline)

    def run(self, pod: Pod, documents: Sequence[Document], beside: bool) -> None:
        """Run a hook's container to its end, as a neighbour of what serves if it is to call that.

        Raises:
            Failure: it ends with another exit code than 0.
        """
        network = [f"--network=container:{self.serving}"] if beside else []
        words = [through_service(documents, api(documents), word) for word in pod.container.get("args", [])]
        container = self._start(pod._replace(container={**pod.container, "args": words}), documents, *network)
        try:
            exit_code = int(_docker("wait", container))
            if exit_code:
                shown = "hook-failed" in pod.annotations.get("helm.sh/hook-output-log-policy", "")
                said = f":\n{_logs(container)}" if shown else ""
                raise Failure(f"pod {pod.container['name']} failed{said}")
        finally:
            _remove(container)

    def serves(self, *filters: str) -> bool:
        """Whether anything does, or something that Docker's filters let through."""
        return bool(_docker("ps", "--quiet", f"--filter=name=^{self.serving}$", *filters))

    def stop(self) -> None:
        """End what serves, if anything does, with the time to finish its requests."""
        if self.serves():
            _docker("stop", "--time=60", self.serving)
        if _docker("ps", "--all", "--quiet", f"--filter=name=^{self.serving}$"):
            _remove(self.serving)

    def _start(self, pod: Pod, documents: Sequence[Document], *options: str) -> str:
        container = pod.container
        variables = [f"--env={one['name']}={one['value']}" for one in container.get("env", [])]
        user = pod.spec["securityContext"]
        command = [
            "run",
            "--detach",
            f"--label=helm-double={self.state}",
            *RIGHTS,
            f"--user={user['runAsUser']}:{user['runAsGroup']}",
            *variables,
            *self._mounts(pod, documents),
            *options,
            container["image"],
            *container.get("args", []),
        ]
        return _docker(*command)

    def _mounts(self, pod: Pod, documents: Sequence[Document]) -> list[str]:
        """The chart's ConfigMaps and Secrets, as files."""
        volumes = {each["name"]: each for each in pod.spec.get("volumes", [])}
        found = []
        for mount in pod.container.get("volumeMounts", []):
            volume, path = volumes.get(mount["name"], {}), mount["mountPath"]
            if "configMap" in volume:
                content = config_map(documents, volume["configMap"]["name"])[mount["subPath"]]
                found.append(f"--volume={self._file(content)}:{path}:ro")
            elif "projected" in volume:
                found.append(f"--volume={self._secrets(volume['projected']['sources'])}:{path}:ro")
        return found

    def _claim(self, name: str) -> str:
        """A volume of Docker, which stays."""
        return _docker("volume", "create", f"--label=helm-double={self.state}", f"{self.serving}-{name}")

    def _file(self, content: str) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix="config-")
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        Path(name).chmod(0o444)
        return Path(name)

    def _secrets(self, sources: Sequence[Document]) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="secrets-"))
        folder.chmod(0o755)
        for source in sources:
            secret = self.folder / "secrets" / source["secret"]["name"]
            if not secret.is_dir():
                raise Failure(f'secret "{secret.name}" not found')
            names = {one["key"]: one["path"] for one in source["secret"].get("items", [])}
            for path in secret.iterdir():
                if not names or path.name in names:
                    copy = shutil.copyfile(path, folder / names.get(path.name, path.name))
                    copy.chmod(0o444)
        return folder


def _wait(container: str, pod: Pod, deadline: float) -> None:
    """Until the chart's readiness probe is content."""
    probe = pod.container["readinessProbe"]["httpGet"]
    asked = ["exec", container, "healthy", str(container_port(pod, probe["port"])), probe["path"]]
    while subprocess.run(["docker", *asked], capture_output=True).returncode:
        is_running = _docker("inspect", "--format={{.State.Running}}", container) == "true"
        if not is_running or monotonic() > deadline:
            words = "context deadline exceeded" if is_running else "the container has ended"
            raise Failure(f"resource -api not ready: {words}\n{_logs(container)}")
        sleep(LOOK_SECONDS)


def _remove(container: str) -> None:
    _docker("rm", "--force", "--volumes", container)


def _logs(container: str) -> str:
    command = ["docker", "logs", "--tail=20", container]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
