"""A running container of the image, with as few rights as in production, and a report from inside it."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ml_microservice.errors import Fault, ServiceError

RIGHTS = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
START_SECONDS = 60
STOP_SECONDS = 60
KEY = "SERVICE__API__KEYS"
INSIDE = Path(__file__).with_name("inside.py")


@contextmanager
def container(image: str) -> Iterator[str]:
    """Start a container that serves, yield its id, and remove it with its volumes afterwards."""
    variables = (f"--env={KEY}={secrets.token_urlsafe(32)}", "--env=SERVICE__API__PORT=8000")
    name = _docker("run", "--detach", *RIGHTS, *variables, image).strip()
    try:
        yield name
    finally:
        _docker("rm", "--force", "--volumes", name)


def report_of(name: str, requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Run `inside.py` in the container once it is ready, then stop it.

    The report also has the seconds until it was ready, and its exit code.
    """
    seconds = _seconds_until_ready(name)
    # Spoken to from inside: the Docker that runs it may be that of another machine.
    source = INSIDE.read_text(encoding="utf-8")
    said = _docker("exec", "--interactive", name, "python", "-c", source, stdin=json.dumps(requests))
    _docker("stop", f"--time={STOP_SECONDS}", name)
    exit_code = int(_docker("inspect", "--format={{.State.ExitCode}}", name))
    return {**json.loads(said), "seconds": seconds, "exit_code": exit_code}


def _seconds_until_ready(name: str) -> float:
    start = monotonic()
    while subprocess.run(["docker", "exec", name, "healthy"], capture_output=True).returncode:
        is_running = _docker("inspect", "--format={{.State.Running}}", name).strip() == "true"
        if not is_running or monotonic() - start > START_SECONDS:
            words = "does not get ready" if is_running else "has ended by itself"
            raise ServiceError(Fault(f"the container {words}:\n{_logs(name)}", advice="see above"))
        sleep(0.1)
    return monotonic() - start


def _logs(name: str) -> str:
    done = subprocess.run(["docker", "logs", "--tail=30", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace").strip()


def _docker(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(Fault(f"docker {arguments[0]} failed: {done.stderr.strip()}"))
    return done.stdout
