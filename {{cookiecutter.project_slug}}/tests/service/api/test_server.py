"""The service as its users run it: a process of its own, several workers, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOUSE = json.dumps({"floor area": 300.0, "lift": True}).encode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(project: Path, *options: str, **variables: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The service of a project, ready to answer; ended with the block."""
    port = free_port()
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), *options]
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), **variables}
    process = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process)
        yield address, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_until_ready(address: str, process: "subprocess.Popen[str]") -> None:
    """Wait for the first answer of the readiness probe."""
    for _ in range(300):
        assert process.poll() is None, process.communicate()[1]
        try:
            urllib.request.urlopen(f"{address}/health/ready", timeout=1).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("the service did not become ready")


def post(url: str, body: bytes = HOUSE) -> dict[str, Any]:
    """The answer to a JSON body."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_metrics_add_up_over_all_workers(project: Path) -> None:
    with serving(project, "--workers", "2") as (address, _process):
        for _ in range(40):
            post(f"{address}/predict")
        counts = set()
        for _ in range(10):
            text = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
            found = re.search(r'^http_requests_total\{.*route="/predict",status="200"\} (\S+)$', text, re.MULTILINE)
            assert found is not None
            counts.add(float(found[1]))
            assert len(re.findall(r"^model_info\{", text, re.MULTILINE)) == 1
        assert counts == {40.0}


def test_sigterm_lets_requests_in_work_finish_and_ends_with_0(project: Path) -> None:
    with serving(project) as (address, process):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            head = (
                f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(HOUSE)}"
            )
            caller.sendall(f"{head}\r\n\r\n".encode() + HOUSE[:10])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            caller.sendall(HOUSE[10:])
            answer = b"".join(iter(lambda: caller.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"prediction":"yes"' in answer
        assert process.wait(timeout=20) == 0


def failing(project: Path, *options: str, **variables: str) -> str:
    """What a start that must fail prints."""
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), **variables}
    command = [sys.executable, "-m", "service.cli", "serve", *options]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_start_that_cannot_succeed_says_what_to_do(project: Path) -> None:
    assert "SERVICE__API__KEYS" in failing(project, SERVICE__ENVIRONMENT="production")
    assert "did you mean 'SERVICE__API__PORT'" in failing(project, SERVICE__API__PROT="1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in failing(project, "--port", str(port))
    (project / "model_bin" / "current").unlink()
    assert "run 'make train'" in failing(project)
