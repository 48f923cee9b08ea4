"""`ml-service records ship` as it runs: a process that is killed, waits for another, and ends with its parent."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.records.shipping_process import NICE
from tests import waiting

SOURCE = Path(__file__).resolve().parents[3] / "src"
until = partial(waiting.until, seconds=30)
PARENT = """
import sys, time
from ml_microservice.records.shipping_child import ShippingChild
from ml_microservice.settings import load_settings

shipping = ShippingChild(load_settings())
shipping.start()
time.sleep(float(sys.argv[1]))
shipping.stop()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that prints its records."""
    (tmp_path / "config.yaml").write_text("name: houses\nrecords: {sinks: [stdout], directory: records}\n")
    return tmp_path


@pytest.fixture
def started(folder: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts processes in the project, their stdout appended to a file; kills those that are left."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, output: str = "output.jsonl") -> "subprocess.Popen[str]":
        with (folder / output).open("a") as stdout:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


SHIP = ("-m", "ml_microservice.cli", "records", "ship")


def printed(folder: Path, output: str = "output.jsonl") -> Counter[str]:
    """How often each record was printed; what a kill tore is not."""
    found: Counter[str] = Counter()
    for line in (folder / output).read_bytes().splitlines():
        try:
            found[json.loads(line)["prediction_id"]] += 1
        except json.JSONDecodeError:
            continue
    return found


def status(started: Callable[..., Any], folder: Path) -> Any:
    """What `ml-service records status` tells."""
    assert started("-m", "ml_microservice.cli", "records", "status", "--json", output="status.json").wait() == 0
    text = (folder / "status.json").read_text()
    (folder / "status.json").unlink()
    return json.loads(text)


def test_a_shipper_that_is_killed_again_and_again_loses_nothing(
    folder: Path, writer: Any, started: Callable[..., Any]
) -> None:
    for rows in (1, 40):
        writer.write(lines=20_000 // rows, rows=rows)
    live = writer.begin()
    output = folder / "output.jsonl"
    output.touch()
    for round_ in range(6):
        before = output.stat().st_size
        process = started(*SHIP)
        live.append(writer.line())
        until(lambda before=before: output.stat().st_size > before)  # type: ignore[misc]
        time.sleep(0.02 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(printed(folder)) < len(writer.ids) or round_ > 0, "the first was killed while it shipped"
    live.close()
    assert started(*SHIP, "--once").wait() == 0
    assert set(printed(folder)) == set(writer.ids)
    assert writer.segments == []


def test_another_shipper_waits_and_takes_over(folder: Path, writer: Any, started: Callable[..., Any]) -> None:
    first = started(*SHIP)
    until(lambda: status(started, folder)["is_shipping"])
    second = started(*SHIP, output="second.jsonl")
    once = started(*SHIP, "--once")
    assert once.wait() == 1
    assert "another process ships" in once.stderr.read()
    writer.write(lines=50)
    until(lambda: len(printed(folder)) == 50)
    first.kill()
    writer.write(lines=70)
    until(lambda: set(printed(folder, "second.jsonl")) >= set(writer.ids[50:]))
    assert set(printed(folder)) | set(printed(folder, "second.jsonl")) == set(writer.ids)
    second.terminate()
    assert second.wait(20) == 0


def test_what_was_written_last_is_shipped_before_the_end(
    folder: Path, writer: Any, started: Callable[..., Any]
) -> None:
    process = started(*SHIP)
    live = writer.begin()
    live.append(writer.line())
    until(lambda: len(printed(folder)) == 1)
    process.terminate()
    time.sleep(0.3)
    live.append(writer.line())
    live.close()
    assert process.wait(20) == 0
    assert list(printed(folder)) == writer.ids
    assert writer.segments == []


def test_the_child_ships_ends_with_its_parent_and_comes_back_when_it_dies(
    folder: Path, writer: Any, started: Callable[..., Any]
) -> None:
    (folder / "parent.py").write_text(PARENT)
    parent = started("parent.py", "60")
    writer.write(lines=20)
    until(lambda: len(printed(folder)) == 20)
    [child] = children(parent.pid)
    assert os.getpriority(os.PRIO_PROCESS, child) == NICE
    os.kill(child, signal.SIGKILL)
    writer.write(lines=20)
    until(lambda: len(printed(folder)) == 40)
    [child] = children(parent.pid)
    parent.kill()
    parent.wait()
    until(lambda: not status(started, folder)["is_shipping"])


def test_a_stop_ships_what_is_left(folder: Path, writer: Any, started: Callable[..., Any]) -> None:
    (folder / "parent.py").write_text(PARENT)
    writer.write(lines=20_000)
    assert started("parent.py", "0.5").wait(30) == 0
    assert len(printed(folder)) == 20_000


def test_the_status_can_be_read(folder: Path, writer: Any, started: Callable[..., Any]) -> None:
    writer.write(lines=3)
    found = status(started, folder)
    assert found["sinks"][0]["lag_records"] == 3
    started("-m", "ml_microservice.cli", "records", "status", output="table.txt").wait()
    assert "No process ships them." in (folder / "table.txt").read_text()


def children(parent: int) -> list[int]:
    """Processes that a process has started."""
    found = [path.read_text().split() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    return [int(pid) for pids in found for pid in pids]
