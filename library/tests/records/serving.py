"""The service as production runs it: a parent, workers, and the process that ships, killed, stopped and started."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests import waiting
from tests.ports import free_port

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATIENCE_SECONDS = 120.0
"""For what takes a second or two: the machine may be busy."""
until = partial(waiting.until, seconds=PATIENCE_SECONDS)


class Service:
    """A service of a project; each start uses the same port and the same folder of records.

    Args:
        project: whose folder it runs in.
        prefix: of the command.
        variables: of its environment; it has two workers unless they say otherwise.
    """

    def __init__(self, project: Path, *prefix: str, **variables: str) -> None:
        self.port = free_port()
        self.project = project
        self._command = [*prefix, sys.executable, "-m", "ml_microservice.cli"]
        # What a killed process leaves in the folder for temporary files goes with the test's folder.
        own = {"PYTHONPATH": str(SOURCE), "TMPDIR": str(project), "SERVICE__API__WORKERS": "2"}
        self._environment = {**os.environ, **own, **variables}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether its first process does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [*self._command, "serve", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, cwd=self.project, env=self._environment, start_new_session=True, stdin=subprocess.DEVNULL
        )
        until(self._is_ready)

    def kill(self) -> None:
        """End all its processes at once, as a lack of memory or a power loss would."""
        if self._process is not None:
            if self.runs:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE_SECONDS) == 0

    def command(self, *words: str) -> str:
        """What a command that has to succeed prints, run beside the service with its settings."""
        command = [*self._command, *words]
        done = subprocess.run(command, cwd=self.project, env=self._environment, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def _is_ready(self) -> bool:
        assert self.runs
        try:
            return ask(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5), "GET", "/health/ready")[0] == 200
        except OSError:
            return False


@contextmanager
def serving(project: Path, *prefix: str, **variables: str) -> Iterator[Service]:
    """A service that is ready; all its processes are killed with the block."""
    service = Service(project, *prefix, **variables)
    try:
        service.start()
        yield service
    finally:
        service.kill()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of an answer."""
    headers = {"content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())
