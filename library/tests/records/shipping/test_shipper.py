"""Shipping: everything reaches every sink, whatever happens to a sink, a segment or a line."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.records.positions import load_position, position_file, read_json
from ml_microservice.records.record import Record
from ml_microservice.records.replay import replay_dead_letters, replay_records
from ml_microservice.records.shipper import Shipper, sole_shipper
from ml_microservice.records.sink_thread import StopEvent
from ml_microservice.records.sinks.sink import Sink
from ml_microservice.records.status import StatusReader
from tests import waiting
from tests.records.lag import is_shipped

until = partial(waiting.until, seconds=10)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are waited for as in life, only shorter."""
    monkeypatch.setattr("ml_microservice.records.sink_thread.FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr("ml_microservice.records.sink_thread.LONGEST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr("ml_microservice.records.shipper.CLEANUP_SECONDS", 0.05)


@contextmanager
def shipping(directory: Path, *sinks: Sink) -> Iterator[None]:
    """Ship while the block runs, then ship what is left."""
    stop = StopEvent()
    shipper = Shipper(directory, "houses", sinks, stop)
    thread = threading.Thread(target=shipper.run, args=(5,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ship_once(directory: Path, *sinks: Sink) -> bool:
    """Ship what is there."""
    stop = StopEvent(tries=2, waits_for_writers=False)
    stop.set()
    return Shipper(directory, "houses", sinks, stop).run()


def status(directory: Path, *names: str, is_exact: bool = True) -> Any:
    """The status of a folder."""
    return StatusReader(directory, "houses", names, is_exact).read()


def test_every_record_reaches_every_sink_in_order_and_segments_then_go(writer: Any, list_sink: Any) -> None:
    one, other = list_sink("one"), list_sink("other")
    writer.write(lines=3000)
    writer.write(lines=3, rows=2500)
    with shipping(writer.directory, one, other):
        live = writer.begin()
        live.append(writer.feedback())
        until(lambda: one.ids == other.ids == writer.ids)
        live.append(writer.line())
        until(lambda: len(one.ids) == len(writer.ids) and writer.segments == [live.path.name])
        live.close()
    assert one.ids == other.ids == writer.ids
    assert max(one.sizes) <= 1000
    assert writer.segments == []


def test_a_sink_that_is_down_or_slow_delays_no_other_and_keeps_its_segments(writer: Any, list_sink: Any) -> None:
    down, slow, up = list_sink("down"), list_sink("slow", lambda _: time.sleep(0.2)), list_sink("up")
    down.is_down.set()
    path = writer.write(lines=5000)
    with shipping(writer.directory, down, slow, up):
        until(lambda: up.ids == writer.ids)
        assert len(slow.ids) < len(writer.ids)
        until(lambda: slow.ids == writer.ids and down.tries > 5)
        assert writer.segments == [path.name]
        [found, *_] = status(writer.directory, "down", "slow", "up").sinks
        assert (found.lag_records, found.failure.message) == (5000, "nobody answers")
        down.is_down.clear()
        until(lambda: down.ids == writer.ids and writer.segments == [])
    assert status(writer.directory, "down").sinks[0].failure is None
    assert set(down.sizes[:3]) != {1000}, "the first batches after a failure are small"


def test_a_batch_that_is_too_large_for_its_sink_arrives_in_smaller_ones(writer: Any, list_sink: Any) -> None:
    def check(records: Sequence[Record]) -> None:
        if len(records) > 100:
            raise OSError("message too large")

    sink = list_sink("list", check)
    writer.write(lines=2, rows=1500)
    with shipping(writer.directory, sink):
        until(lambda: set(sink.ids) == set(writer.ids))


def test_refused_records_become_dead_letters_and_can_be_offered_again(writer: Any, list_sink: Any) -> None:
    sink = list_sink()
    writer.write(lines=10)
    sink.refused = set(writer.ids[3:5])
    assert ship_once(writer.directory, sink)
    assert writer.segments == []
    assert sink.ids == writer.ids[:3] + writer.ids[5:]
    letters = [json.loads(line) for line in (writer.directory / "dead-letter/list.jsonl").read_text().splitlines()]
    assert [letter["record"]["prediction_id"] for letter in letters] == writer.ids[3:5]
    assert {letter["reason"] for letter in letters} == {"not this one"}
    assert status(writer.directory, "list").sinks[0].dead_letters == 2

    sink.refused = {writer.ids[4]}
    result = replay_dead_letters(sink, writer.directory)
    assert (result.taken, result.refused) == (1, 1)
    assert sink.ids[-1] == writer.ids[3]
    assert status(writer.directory, "list").sinks[0].dead_letters == 1


def test_a_replay_that_is_interrupted_keeps_its_dead_letters(
    writer: Any, list_sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(records: Sequence[Record]) -> None:
        raise KeyboardInterrupt

    sink = list_sink()
    writer.write(lines=3)
    sink.refused = set(writer.ids)
    ship_once(writer.directory, sink)
    with pytest.raises(KeyboardInterrupt):
        replay_dead_letters(list_sink("list", interrupt), writer.directory)
    assert status(writer.directory, "list").sinks[0].dead_letters == 3


def test_a_sink_that_refuses_everything_holds_nothing_back(writer: Any, list_sink: Any) -> None:
    sink = list_sink()
    writer.write(lines=3000)
    sink.refused = set(writer.ids)
    assert ship_once(writer.directory, sink)
    assert writer.segments == []
    found = status(writer.directory, "list").sinks[0]
    assert (found.dead_letters, found.lag_records) == (3000, 0)


def test_once_says_whether_anything_is_left(writer: Any, list_sink: Any) -> None:
    down = list_sink("down")
    down.is_down.set()
    writer.write(lines=1)
    assert not ship_once(writer.directory, down, list_sink("up"))
    down.is_down.clear()
    live = writer.begin()
    live.append(writer.line())
    assert ship_once(writer.directory, down, list_sink("up"))
    assert down.ids == writer.ids


def test_a_torn_end_is_cut_and_a_line_that_is_no_record_set_aside_once(writer: Any, list_sink: Any) -> None:
    segment = writer.begin()
    segment.append(writer.line())
    for garbage in (b'{"kind": "prediction"}\n', b"\xff\r\x00\n", b'{"kind": "dream"}\n'):
        segment.append(garbage)
    segment.append(writer.line())
    segment.append(b'{"kind":"predic')
    one, other = list_sink("one"), list_sink("other")
    with shipping(writer.directory, one, other):
        until(lambda: one.ids == other.ids == writer.ids)
        assert writer.segments == [segment.path.name], "its writer may still complete the line"
        segment.close()
        until(lambda: writer.segments == [])
    entries = (writer.directory / "quarantine" / segment.path.name).read_text().splitlines()
    assert len(entries) == 3
    assert json.loads(entries[1])["line"] == "\\xff\r\x00"
    found = status(writer.directory, "one", "other")
    assert (found.quarantined, found.torn_bytes) == (3, 15)


def test_segments_of_another_format_or_project_stay_and_are_told_of(writer: Any, list_sink: Any) -> None:
    writer.begin("flats").close()
    other_project = writer.begin("flats")
    other_project.append(writer.line())
    other_project.close()
    writer.ids.clear()
    later = writer.directory / "segments" / "30000101T000000.000000Z-00000000.jsonl"
    later.write_text('{"format": 2, "project": "houses"}\n{}\n')
    writer.write(lines=2)
    sink = list_sink()
    assert ship_once(writer.directory, sink)
    assert sink.ids == writer.ids
    assert writer.segments == [other_project.path.name, later.name]
    assert status(writer.directory, "list").foreign_segments == (other_project.path.name, later.name)


def test_positions_forget_segments_that_are_gone_and_sinks_that_are_gone_hold_nothing(
    writer: Any, list_sink: Any
) -> None:
    former = list_sink("former")
    former.is_down.set()
    writer.write(lines=5)
    ship_once(writer.directory, former, list_sink())
    assert writer.segments != []
    ship_once(writer.directory, list_sink())
    assert writer.segments == []
    segment = writer.write(lines=1)
    new = list_sink("new")
    former.is_down.set()
    ship_once(writer.directory, list_sink(), former)
    ship_once(writer.directory, new, former)
    assert new.ids == writer.ids[-1:], "a new sink starts with what is still there"
    assert list(load_position(position_file(writer.directory, "list")).marks) == [segment.name]


def test_a_position_that_cannot_be_read_repeats_and_loses_nothing(writer: Any, list_sink: Any) -> None:
    writer.write(lines=5)
    down = list_sink("down")
    down.is_down.set()
    ship_once(writer.directory, list_sink(), down)
    position_file(writer.directory, "list").write_text("{")
    sink = list_sink()
    ship_once(writer.directory, sink, down)
    assert sink.ids == writer.ids


def test_only_one_shipper_works_on_a_folder(writer: Any) -> None:
    with sole_shipper(writer.directory) as first, sole_shipper(writer.directory) as second:
        assert (first, second) == (True, False)
        assert status(writer.directory).is_shipping
    assert not status(writer.directory).is_shipping


@pytest.mark.parametrize("is_exact", [True, False])
def test_the_status_counts_what_no_sink_has_taken(writer: Any, list_sink: Any, is_exact: bool) -> None:
    down = list_sink("down")
    down.is_down.set()
    ship_once(writer.directory, down)
    paths = [writer.write(lines=4000), writer.write(lines=2)]
    live = writer.begin()
    live.append(writer.line(rows=500))
    found = status(writer.directory, "down", is_exact=is_exact).sinks[0]
    assert found.lag_records == pytest.approx(4502, rel=0 if is_exact else 0.01)
    with shipping(writer.directory, down):
        until(lambda: bool(read_json(writer.directory / "tally.json")))
    size = sum(path.stat().st_size for path in [*paths, live.path])
    found = status(writer.directory, "down", is_exact=is_exact)
    assert found.sinks[0].lag_records == 4502
    assert found.sinks[0].lag_bytes < found.waiting_bytes == size
    assert 0 < found.sinks[0].lag_seconds < 60
    down.is_down.clear()
    ship_once(writer.directory, down)
    found = status(writer.directory, "down", is_exact=is_exact)
    assert (found.sinks[0].lag_records, found.sinks[0].lag_seconds, found.sinks[0].shipped) == (0, 0, 4502)
    assert is_shipped(found)


def test_records_of_the_database_can_be_sent_to_another_sink(writer: Any, list_sink: Any) -> None:
    stored: list[Record] = []
    source = list_sink("source", stored.extend)
    writer.write(lines=2500)
    ship_once(writer.directory, source)
    sink = list_sink()
    sink.refused = {writer.ids[7]}
    result = replay_records(sink, iter(stored), writer.directory)
    assert (result.taken, result.refused) == (2499, 1)
    assert status(writer.directory, "list").sinks[0].dead_letters == 1
