"""A service that is killed, as a process: whatever a client was answered is recorded, exactly once."""

import http.client
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.records.segment import segment_files
from tests.records.callers import assert_accounted_for, calling
from tests.records.serving import ask, serving, until

SEPARATE = {"SERVICE__RECORDS__SHIPPING": "separate"}
ANSWERED_AFTER = re.compile(r'"\{\\"kind\\":.*HTTP/1\.1 200', re.DOTALL)
"""In a trace: a record is written, and then there is an answer."""


def test_every_answer_of_a_killed_service_is_recorded_exactly_once(project: Path, read: Any) -> None:
    with (
        serving(project, SERVICE__RECORDS__SEGMENT_BYTES="200000", **SEPARATE) as service,
        calling(service.port, 6, pause=0) as callers,
    ):
        until(lambda: callers.requests > 1500)
        service.kill()
    assert_accounted_for(callers, read(project / "var" / "records"))
    assert len(callers.answers) > 3000
    assert len(segment_files(project / "var" / "records")) > 2


def test_two_workers_write_a_segment_each(project: Path, read: Any) -> None:
    with serving(project, **SEPARATE) as service:
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
            ask(connection, "POST", "/predict", {"floor area": 300.0, "lift": True})
            connection.close()
        until(lambda: len(segment_files(project / "var" / "records")) == 2)
        assert len(read(project / "var" / "records")) == 200


@pytest.mark.skipif(
    not (shutil.which("strace") or os.environ.get("CI")), reason="strace is not installed: apt-get install strace"
)
def test_strict_answers_only_after_the_record_is_on_the_disk(project: Path) -> None:
    trace = project / "trace.txt"
    calls = "trace=write,writev,sendto,sendmsg,fdatasync"
    strace = ["strace", "--follow-forks", "--string-limit=20", "--output", str(trace), "-e", calls]
    with serving(
        project, *strace, SERVICE__API__WORKERS="1", SERVICE__RECORDS__DURABILITY="strict", **SEPARATE
    ) as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        assert ask(connection, "POST", "/predict", {"floor area": 300.0, "lift": True})[0] == 200
        until(lambda: ANSWERED_AFTER.search(trace.read_text()) is not None)
    lines = trace.read_text().splitlines()
    written = next(index for index, line in enumerate(lines) if '"{\\"kind\\":' in line)
    answered = next(index for index, line in enumerate(lines) if index > written and "HTTP/1.1 200" in line)
    synced = [index for index, line in enumerate(lines) if re.search(r"fdatasync.*= 0$", line)]
    assert any(written < index < answered for index in synced), "\n".join(lines)
