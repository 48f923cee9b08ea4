"""The status of shipping, read from files alone: it needs no running shipper."""

import fcntl
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ml_microservice.records.dead_letters import DeadLetters
from ml_microservice.records.durable_lines import LineCounter
from ml_microservice.records.positions import Failure, Mark, load_position, position_file
from ml_microservice.records.quarantine import quarantine_folder
from ml_microservice.records.record_counts import UNCOUNTED_BYTES, furthest, load_counts, torn_bytes
from ml_microservice.records.segment import waiting_bytes
from ml_microservice.records.segment_reader import SegmentFile, Segments, complete_lines, count_records
from ml_microservice.records.shipper import lock_file

TIME = re.compile(rb'"(?:time|received_at)":"([^"]{10,40})"')
"""Finds the time of a line's first record. It cannot match within a value, where quotes are escaped."""


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How far a sink is."""

    sink: str
    lag_records: int
    """Records that the sink has not taken."""
    lag_seconds: float
    """Age of the oldest record that the sink has not taken; 0 if there is none."""
    lag_bytes: int
    """Bytes of segments that the sink has not taken."""
    shipped: int
    """Records that the sink has taken so far, including repeated ones."""
    dead_letters: int
    """Records that the sink refused for good."""
    failure: Failure | None
    """Why the sink does not take records; None while it does."""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a folder of records."""

    is_shipping: bool
    """Whether a process ships the records of this folder."""
    sinks: tuple[SinkStatus, ...]
    segments: int
    waiting_bytes: int
    """Bytes of all segments."""
    foreign_segments: tuple[str, ...]
    """Segments of another format or project, which are neither shipped nor deleted."""
    quarantined: int
    """Lines that could not be parsed as records."""
    torn_bytes: int
    """Bytes of torn segment ends, which were skipped."""


class StatusReader:
    """Reads the status of a folder. It can be reused, and then reads headers and dead letters only once.

    Args:
        directory: the folder of records.
        project: the project whose segments count.
        sinks: names of the configured sinks.
        is_exact: whether to count all records. Otherwise the records of a segment are estimated if more than
            `UNCOUNTED_BYTES` of it have not been counted.
    """

    def __init__(self, directory: Path, project: str, sinks: Sequence[str], is_exact: bool) -> None:
        self._directory = directory
        self._sinks = tuple(dict.fromkeys(sinks))
        self._limit = None if is_exact else UNCOUNTED_BYTES
        self._segments = Segments(directory, project)
        self._lines = LineCounter()

    def read(self) -> Status:
        """The current status."""
        positions = {sink: load_position(position_file(self._directory, sink)) for sink in self._sinks}
        found = self._segments.scan()
        segments = found.readable
        known = [*(position.marks for position in positions.values()), load_counts(self._directory)]
        totals = {segment.name: self._total(segment, furthest(segment, known)) for segment in segments}
        sinks = []
        for sink, position in positions.items():
            marks = position.marks
            dead = sum(self._lines.count(path) for path in DeadLetters(self._directory, sink).files)
            sinks.append(
                SinkStatus(
                    sink=sink,
                    lag_records=sum(max(0, totals[each.name] - each.mark(marks).records) for each in segments),
                    lag_seconds=_age(segments, marks),
                    lag_bytes=sum(max(0, each.size - each.mark(marks).offset) for each in segments),
                    shipped=position.shipped,
                    dead_letters=dead,
                    failure=position.failure,
                )
            )
        return Status(
            is_shipping=_is_locked(lock_file(self._directory)),
            sinks=tuple(sinks),
            segments=len(segments) + len(found.foreign),
            waiting_bytes=waiting_bytes(self._directory),
            foreign_segments=tuple(found.foreign),
            quarantined=sum(self._lines.count(path) for path in quarantine_folder(self._directory).glob("*")),
            torn_bytes=torn_bytes(self._directory),
        )

    def _total(self, segment: SegmentFile, mark: Mark) -> int:
        """The number of records in a segment, exact or estimated, counting on from a mark."""
        counted = count_records(segment, mark, self._limit)
        read = counted.offset - mark.offset
        if self._limit is None or read < self._limit:
            return counted.records
        return counted.records + round((segment.size - counted.offset) * (counted.records - mark.records) / read)


def _age(segments: Sequence[SegmentFile], marks: Mapping[str, Mark]) -> float:
    """Age in seconds of the oldest record that a sink has not taken."""
    now = oldest = time.time()
    for segment in segments:
        if segment.created >= oldest:
            break  # neither this segment nor a later one has an older record
        offset = segment.mark(marks).offset
        if offset < segment.size:
            oldest = min(oldest, _time(segment, offset, now))
    return round(max(0.0, now - oldest), 3)


def _time(segment: SegmentFile, offset: int, now: float) -> float:
    """The time of the first record after an offset; now if there is none."""
    try:
        line = complete_lines(segment.path, offset, limit=4096)
    except FileNotFoundError:
        return now
    found = TIME.search(line.partition(b"\n")[0])
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp() if found else now
    except ValueError:
        return now


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
