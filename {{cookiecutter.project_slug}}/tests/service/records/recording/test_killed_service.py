"""A service that is killed, as a process: whatever a client was answered is recorded, exactly once."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.records.segment import segment_files

CLIENTS, REQUESTS = 6, 5000
SOURCE = Path(__file__).resolve().parents[4] / "src"


@contextmanager
def serving(
    project: Path, *prefix: str, workers: int, **variables: str
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """The service in a session of its own, ready; its port and its process. All of it is killed with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--port", str(port), "--workers", str(workers)]
    command = [*prefix, sys.executable, "-m", "service.cli", "serve", *options]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "SERVICE__RECORDS__SHIPPING": "separate", **variables}
    process = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True)
    try:
        for _ in range(600):
            assert process.poll() is None
            try:
                if ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "GET", "/health/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield port, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of an answer."""
    headers = {"content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


class Client(threading.Thread):
    """Asks on one connection at a time, one request after the other, until the service is gone."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.label = port, name
        self.answered: dict[str, str] = {}
        """Prediction by entity id."""
        self.unanswered: set[str] = set()

    def run(self) -> None:
        """Ask; every tenth time for many rows."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        for number in range(REQUESTS):
            count = 20 if number % 10 == 0 else 1
            names = [f"{self.label}-{number}-{row}" for row in range(count)]
            rows = [{"floor area": 300.0, "lift": True, "house id": name} for name in names]
            path, body = ("/predict/batch", rows) if count > 1 else ("/predict", rows[0])
            try:
                status, document = ask(connection, "POST", path, body)
            except (OSError, http.client.HTTPException, ValueError):
                self.unanswered |= set(names)
                return
            assert status == 200
            answers = document["predictions"] if count > 1 else [document]
            self.answered |= {name: row["prediction_id"] for name, row in zip(names, answers, strict=True)}


def test_every_answer_of_a_killed_service_is_recorded_exactly_once(project: Path, read: Any) -> None:
    with serving(project, workers=2, SERVICE__RECORDS__SEGMENT_BYTES="200000") as (port, process):
        clients = [Client(port, f"c{index}") for index in range(CLIENTS)]
        for client in clients:
            client.start()
        while sum(len(client.answered) for client in clients) < 4000:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        for client in clients:
            client.join(30)
    answered = {name: prediction for client in clients for name, prediction in client.answered.items()}
    unanswered = set().union(*(client.unanswered for client in clients))
    records = read(project / "var" / "records")
    recorded = {record.entity_id: record.prediction_id for record in records}
    assert len(recorded) == len(records)
    assert len(answered) >= 4000
    assert {name: recorded.get(name) for name in answered} == answered
    assert recorded.keys() - answered.keys() <= unanswered
    assert len({path.name.split("-")[1] for path in segment_files(project / "var" / "records")}) > 2


def test_two_workers_write_a_segment_each(project: Path, read: Any) -> None:
    with serving(project, workers=2) as (port, _process):
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            ask(connection, "POST", "/predict", {"floor area": 300.0, "lift": True})
            connection.close()
        for _ in range(200):
            if len(segment_files(project / "var" / "records")) > 1:
                break
            time.sleep(0.05)
        assert len(segment_files(project / "var" / "records")) == 2
        assert len(read(project / "var" / "records")) == 200


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strict_answers_only_after_the_record_is_on_the_disk(project: Path) -> None:
    trace = project / "trace.txt"
    calls = "trace=write,writev,sendto,sendmsg,fdatasync"
    strace = ["strace", "--follow-forks", "--string-limit=20", "--output", str(trace), "-e", calls]
    with serving(project, *strace, workers=1, SERVICE__RECORDS__DURABILITY="strict") as (port, process):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        trace_before = len(trace.read_text().splitlines())
        assert ask(connection, "POST", "/predict", {"floor area": 300.0, "lift": True})[0] == 200
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    lines = trace.read_text().splitlines()[trace_before:]
    written = next(index for index, line in enumerate(lines) if '"{\\"kind\\":' in line)
    answered = next(index for index, line in enumerate(lines) if "HTTP/1.1 200" in line)
    synced = [index for index, line in enumerate(lines) if re.search(r"fdatasync.*= 0$", line)]
    assert any(written < index < answered for index in synced), "\n".join(lines)
