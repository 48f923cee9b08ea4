"""Jobs of a service and a worker that are processes of their own."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.jobs.storage import JobStorage
from ml_microservice.settings import load_settings
from tests.api.test_server import serving
from tests.bodies import CSV, NDJSON

HOUSE = {"floor area": 300.0, "lift": True}
SOURCE = Path(__file__).resolve().parents[2] / "src"


def ask(url: str, body: bytes | None = None, media_type: str = "application/json", **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    request = urllib.request.Request(url, body, {"content-type": media_type, **headers})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextmanager
def working(project: Path, **variables: str) -> Iterator[None]:
    """A worker of a project, as long as the block lasts."""
    command = [sys.executable, "-m", "ml_microservice.cli", "worker"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    process = subprocess.Popen(command, cwd=project, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_a_worker_answers_what_several_processes_took(project: Path) -> None:
    variables = {"SERVICE__JOBS__CHUNK_ROWS": "50", "SERVICE__JOBS__CONCURRENCY": "1"}
    houses = b"house id,floor area,lift\n" + b"".join(b'"h\n%d",%d,true\n' % (i, i % 500) for i in range(1000))
    with serving(project, "--workers", "2", **variables) as (address, _), working(project, **variables):
        assert json.loads(answered(f"{address}/jobs?wait=60", HOUSE))["prediction"] == "yes"
        path = json.loads(ask(f"{address}/jobs", houses, CSV)[1])["links"]["self"]
        told = ask(f"{address}{path}/events")[1].decode()
        assert "event: finished" in told
        for _ in range(8):  # by whichever process
            document = json.loads(ask(f"{address}{path}")[1])
            assert (document["state"], document["rows_done"]) == ("succeeded", 1000)
        result, batch = ask(f"{address}{path}/result")[1], ask(f"{address}/predict/batch", houses, CSV)[1]
        assert without_ids(result) == without_ids(batch)
        repeated = {"idempotency-key": "one", "accept": NDJSON}
        with ThreadPoolExecutor(12) as callers:
            sent = [callers.submit(answered, f"{address}/jobs?wait=60", [HOUSE], **repeated) for _ in range(12)]
        assert len({json.loads(one.result())["prediction_id"] for one in sent}) == 1


def answered(url: str, document: Any, **headers: str) -> bytes:
    """The answer to a submission, however long the worker takes to be there."""
    while True:
        status, body = ask(url, json.dumps(document).encode(), **headers)
        if status == 200:
            return body
        assert status == 202, body


def without_ids(table: bytes) -> list[list[str]]:
    """The fields of a CSV file that are the same each time."""
    rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    return [[row["prediction"], row["house id"], row["error"], row["probability_yes"][:9]] for row in rows]


def test_who_waits_and_follows_is_let_go_when_the_service_ends(project: Path) -> None:
    patience = 200
    with serving(project, SERVICE__API__SHUTDOWN_SECONDS=str(patience)) as (address, process):
        path = json.loads(ask(f"{address}/jobs", json.dumps([HOUSE]).encode())[1])["links"]["self"]
        with ThreadPoolExecutor(8) as callers:
            following = [callers.submit(ask, f"{address}{path}/events") for _ in range(4)]
            waiting = [callers.submit(ask, f"{address}/jobs?wait=60", json.dumps([HOUSE]).encode()) for _ in range(4)]
            while len(json.loads(ask(f"{address}/jobs")[1])["jobs"]) < 5:
                time.sleep(0.05)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            told = [one.result() for one in following]
            late = [one.result() for one in waiting]
            assert process.wait(patience) == 0
        assert time.monotonic() - started < 30  # of 60 that were to be waited, and of the 200 that requests are given
    assert {status for status, _ in told} == {200}
    assert all(body.count(b"event: progress") == 1 and b"finished" not in body for _, body in told)
    assert {(status, json.loads(body)["state"]) for status, body in late} == {(202, "queued")}


def test_a_submission_that_breaks_off_is_no_job_and_leaves_nothing(project: Path) -> None:
    with serving(project) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        for sent in (100, 3_000_000):
            with socket.create_connection((host, int(port))) as caller:
                head = f"POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-type: {NDJSON}\r\ncontent-length: 9000000\r\n\r\n"
                caller.sendall(head.encode() + b'{"floor area": 300.0, "lift": true}\n' * (sent // 36))
        counted = metric(address, 'http_requests_total{method="POST",route="/jobs",status="499"}')
        while counted() < 2:
            time.sleep(0.05)
        assert json.loads(ask(f"{address}/jobs")[1]) == {"jobs": []}
    assert JobStorage(load_settings(project, {})).ids() == []


def metric(address: str, name: str) -> Any:
    """What a metric is, whenever it is called."""

    def value() -> float:
        lines = ask(f"{address}/metrics")[1].decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)

    return value
