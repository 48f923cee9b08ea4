"""Serve a trained project, predict once, and show the request, the answer and where to look next.

The training data is predicted, too, so that there are records to compare with it.

Run by the project's own Python: PROJECT/.venv/bin/python scripts/demo.py PROJECT

On a terminal the service stays up until Ctrl-C; otherwise it is stopped and the exit code is 0.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from ml_microservice.features.examples import example_row
from ml_microservice.features.features_file import complete_features, load_features
from ml_microservice.settings import load_settings
from ml_microservice.training.hooks import load_hooks
from ml_microservice.training.split import load_frame

HOST, PORT = "127.0.0.1", 8000
START_SECONDS = 60
STOP_SECONDS = 40
LOG = "demo.log"


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main(project: Path) -> None:
    """Show the project at work."""
    port = PORT if is_free(PORT) else free_port()
    base = f"http://{HOST}:{port}"
    with serving(project, port) as process:
        wait_until_ready(base, process)
        request = example_request(project)
        answer = post(f"{base}/predict", request)
        more = post(f"{base}/predict/batch", training_rows(project))
        show(project, base, request, answer, len(more["predictions"]))
        if sys.stdout.isatty():
            print("\nThe service stays up. Ctrl-C ends it.", flush=True)
            with suppress(KeyboardInterrupt):
                process.wait()
                raise DemoError("the service has ended by itself")
            print("\nStopping.", flush=True)


@contextmanager
def serving(project: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The service as a process, which is asked to end afterwards, and has to end well."""
    command = [str(project / ".venv/bin/ml-service"), "serve", "--host", HOST, "--port", str(port)]
    with (project / LOG).open("wb") as log:
        # Ctrl-C is for this process, which then ends the service as an orchestrator would.
        process = subprocess.Popen(command, cwd=project, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        code = stop(process)
    if code:
        raise DemoError(f"the service ended with exit code {code}")


def stop(process: "subprocess.Popen[bytes]") -> int:
    """Ask the process to end, wait for it, and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise DemoError(f"the service did not stop within {STOP_SECONDS} seconds") from None


def wait_until_ready(base: str, process: "subprocess.Popen[bytes]") -> None:
    """Return once the service answers that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        try:
            open_url(Request(f"{base}/health/ready"))
        except (URLError, OSError):
            if time.monotonic() > deadline:
                raise DemoError(f"the service was not ready within {START_SECONDS} seconds") from None
            time.sleep(0.1)
        else:
            return
    raise DemoError("the service did not start")


def example_request(project: Path) -> dict[str, Any]:
    """The request that the examples in `features.yaml` make."""
    settings = load_settings(project, environ={})
    return example_row(complete_features(load_features(settings.features_file, settings.id_name)))


def training_rows(project: Path) -> list[dict[str, Any]]:
    """The training data as requests."""
    settings = load_settings(project, environ={})
    spec = complete_features(load_features(settings.features_file, settings.id_name))
    frame = load_frame(load_hooks(project, spec.task), None)
    rows: list[dict[str, Any]] = json.loads(frame[spec.names].to_json(orient="records", date_format="iso"))
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def post(url: str, body: object) -> dict[str, Any]:
    """The answer to a JSON document."""
    headers = {"content-type": "application/json"}
    keys = os.environ.get("SERVICE__API__KEYS")
    if keys:
        headers["x-api-key"] = keys.split(",")[0].strip()
    try:
        answer = json.loads(open_url(Request(url, json.dumps(body).encode(), headers)))
    except HTTPError as error:
        raise DemoError(f"the prediction was answered {error.code}: {error.read().decode()}") from None
    except (URLError, OSError, ValueError) as error:
        raise DemoError(f"the prediction was not answered: {error}") from None
    assert isinstance(answer, dict)
    return answer


def open_url(request: Request) -> bytes:
    """The body of a successful answer, asked for directly: a proxy knows nothing of this machine's loopback."""
    body: bytes = build_opener(ProxyHandler({})).open(request, timeout=10).read()
    return body


def show(project: Path, base: str, request: dict[str, Any], answer: dict[str, Any], more: int) -> None:
    """Print what was asked, what was answered, and where to look next."""
    report = next(iter(sorted(project.glob("model_bin/*/report.html"), reverse=True)), None)
    print(f"\nPOST {base}/predict\n{json.dumps(request, indent=2)}")
    print(f"\nanswered\n{json.dumps(answer, indent=2, ensure_ascii=False)}")
    prediction_id, feedback = answer["prediction_id"], shlex.quote(str(answer["prediction"]))
    print(f"\nIt is on record, and so are those of {more} rows of the training data. In the project's folder:")
    print(f"A record           .venv/bin/ml-service records show {prediction_id}")
    print(f"A feedback         .venv/bin/ml-service feedback {prediction_id} {feedback}")
    print("How right it is    .venv/bin/ml-service performance")
    print("A drift report     make drift")
    print(f"\nAPI documentation  {base}/docs" + ("" if sys.stdout.isatty() else "  (while it is served)"))
    print(f"Report             {report}")
    print(f"Project            {project}  (README.md says what to fill in)")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    try:
        main(folder)
    except KeyboardInterrupt:
        sys.exit(130)
    except DemoError as error:
        tail = (folder / LOG).read_text(errors="replace").splitlines()[-20:] if (folder / LOG).exists() else []
        sys.exit("\n".join(["", *tail, f"demo: {error}; the whole log is {folder / LOG}"]))
