"""`ml-service records ship` as in production, with segments as a service writes them, to a receiver that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.records.record import call_start, prediction_line
from ml_microservice.records.segment import Segment, prepare_folder
from tests.records.sinks.conftest import Receiver

SOURCE = Path(__file__).parents[3] / "src"
KEY = "correct horse battery staple"
CONFIG = """
name: houses
records: {{sinks: [fluentd], directory: records}}
fluentd: {{port: {port}, timeout_seconds: 0.5}}
"""


class Service:
    """The commands of a project, whose records are in its folder `records`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        (folder / "config.yaml").write_text(CONFIG.format(port=port))
        self.shipper: subprocess.Popen[bytes] | None = None

    def start(self, key: str) -> None:
        """Begin to ship."""
        self.shipper = subprocess.Popen(self._command("ship"), cwd=self.folder, env=self._environment(key))

    def kill(self) -> None:
        """End shipping as a power loss would."""
        if self.shipper:
            self.shipper.send_signal(signal.SIGKILL)
            self.shipper.wait()
            self.shipper = None

    def status(self) -> dict[str, Any]:
        """How far the sink is."""
        command = self._command("status", "--json")
        done = subprocess.run(command, cwd=self.folder, env=self._environment(KEY), capture_output=True, check=True)
        (sink,) = json.loads(done.stdout)["sinks"]
        return dict(sink)

    def until(self, is_so: Callable[[dict[str, Any]], bool], patience: float = 120) -> dict[str, Any]:
        """Wait until the status is as it should be."""
        deadline = time.monotonic() + patience
        while not is_so(status := self.status()):
            assert time.monotonic() < deadline, f"it did not come to be so: {status}"
            time.sleep(0.1)
        return status

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "ml_microservice.cli", "records", *words]

    def _environment(self, key: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SOURCE), "SERVICE__FLUENTD__SHARED_KEY": key}


@pytest.fixture
def service(tmp_path: Path, receiver: Receiver) -> Iterator[Service]:
    receiver.start("--shared-key", KEY)
    one = Service(tmp_path, receiver.port)
    yield one
    one.kill()


def write_segment(folder: Path, ids: list[str]) -> None:
    """A closed segment of predictions, five in a line."""
    segment = Segment.create(prepare_folder(folder), "houses")
    start = call_start("v1", "m1", "batch") + b'"time":"2026-11-21T06:00:01.250Z","latency_ms":0.5,'
    for first in range(0, len(ids), 5):
        inputs, probabilities = {"floor area": [1.5] * 5}, {"yes": [0.9] * 5}
        segment.append(
            prediction_line(
                start,
                ids=ids[first : first + 5],
                entity_ids=None,
                inputs=inputs,
                predictions=["yes"] * 5,
                probabilities=probabilities,
            )
        )
    segment.close()


@pytest.mark.slow
def test_nothing_is_lost_to_a_wrong_key_a_dead_shipper_and_a_receiver_that_fails(
    service: Service, receiver: Receiver, tmp_path: Path
) -> None:
    ids = [f"p{number:07}" for number in range(20_000)]
    for first in range(0, len(ids), 2500):
        write_segment(tmp_path / "records", ids[first : first + 2500])
    service.start("guess")
    status = service.until(lambda status: status["failure"] is not None)
    assert "refuses the shared key (shared_key mismatch)" in status["failure"]["message"]
    assert KEY not in json.dumps(status)
    assert (status["lag_records"], receiver.events()) == (20_000, [])

    receiver.kill()
    behaviour = "ok,slow,wrong,slow,close,cut,ok,silent" + ",slow" * 500
    receiver.start("--shared-key", KEY, "--behaviour", behaviour, "--delay", "0.1")
    service.kill()
    service.start(KEY)
    service.until(lambda status: status["lag_records"] < 20_000)
    service.kill()
    service.start(KEY)
    service.until(lambda status: status["lag_records"] < 15_000)
    receiver.kill()
    service.until(lambda status: "no connection" in str(status["failure"]))
    receiver.start("--shared-key", KEY)

    service.until(lambda status: status["lag_records"] == 0)
    taken: dict[str, Any] = {}
    for event in receiver.events():
        assert taken.setdefault(event["record"]["prediction_id"], event["record"]) == event["record"]
    assert sorted(taken) == ids
