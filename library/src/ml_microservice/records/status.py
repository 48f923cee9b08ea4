"""How far each sink is and what is set aside, told from the files alone, whoever asks and whether anything ships."""

import fcntl
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ml_microservice.records.positions import Failure, Mark, load_position, position_file
from ml_microservice.records.reading import SegmentFile, Segments, count_records, whole_lines
from ml_microservice.records.segment import waiting_bytes
from ml_microservice.records.set_aside import DeadLetters, LineCount, quarantine_folder
from ml_microservice.records.shipper import lock_file
from ml_microservice.records.tally import UNCOUNTED_BYTES, furthest, load_tally, torn_bytes

TIME = re.compile(rb'"(?:time|received_at)":"([^"]{10,40})"')
"""Of a line's first record. Within a text of a record, its quotes would be escaped."""


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How far a sink is."""

    sink: str
    lag_records: int
    """Records that it has not taken."""
    lag_seconds: float
    """Age of the oldest of them; 0 if there is none."""
    lag_bytes: int
    """What they take in segments."""
    shipped: int
    """Records that it has taken so far, repetitions included."""
    dead_letters: int
    """Records that it refused for good."""
    failure: Failure | None
    """What keeps it from taking records."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far shipping is."""

    is_shipping: bool
    """Whether a process ships the records of this folder."""
    sinks: tuple[SinkStatus, ...]
    segments: int
    waiting_bytes: int
    """Size of all segments."""
    foreign_segments: tuple[str, ...]
    """Those of another format or project, which nobody ships or deletes."""
    quarantined: int
    """Lines that were no records."""
    torn_bytes: int
    """Of torn ends of segments, which were left out."""

    @property
    def is_done(self) -> bool:
        """Whether all sinks have everything."""
        return not any(sink.lag_records for sink in self.sinks)


class StatusReader:
    """Reads the status of a folder again and again, and what has been counted only once.

    Args:
        directory: of records.
        project: whose segments count.
        sinks: that are configured.
        is_exact: whether to count all records; otherwise, where more than `UNCOUNTED_BYTES` are not, estimate
    """

    def __init__(self, directory: Path, project: str, sinks: Sequence[str], is_exact: bool) -> None:
        self._directory = directory
        self._sinks = tuple(dict.fromkeys(sinks))
        self._limit = None if is_exact else UNCOUNTED_BYTES
        self._segments = Segments(directory, project)
        self._lines = LineCount()

    def read(self) -> Status:
        """The status as it is now."""
        positions = {sink: load_position(position_file(self._directory, sink)) for sink in self._sinks}
        segments, foreign = self._segments.look()
        known = [*(position.marks for position in positions.values()), load_tally(self._directory)]
        totals = {segment.name: self._total(segment, furthest(segment, known)) for segment in segments}
        sinks = []
        for sink, position in positions.items():
            marks = position.marks
            dead = sum(self._lines.of(path) for path in DeadLetters(self._directory, sink).files)
            sinks.append(
                SinkStatus(
                    sink,
                    sum(max(0, totals[segment.name] - segment.mark(marks).records) for segment in segments),
                    _age(segments, marks),
                    sum(max(0, segment.size - segment.mark(marks).offset) for segment in segments),
                    position.shipped,
                    dead,
                    position.failure,
                )
            )
        return Status(
            is_shipping=_is_locked(lock_file(self._directory)),
            sinks=tuple(sinks),
            segments=len(segments) + len(foreign),
            waiting_bytes=waiting_bytes(self._directory),
            foreign_segments=tuple(foreign),
            quarantined=sum(self._lines.of(path) for path in quarantine_folder(self._directory).glob("*")),
            torn_bytes=torn_bytes(self._directory),
        )

    def _total(self, segment: SegmentFile, mark: Mark) -> int:
        """The records of a segment, of which those before a mark are counted."""
        counted = count_records(segment, mark, self._limit)
        read = counted.offset - mark.offset
        if self._limit is None or read < self._limit:
            return counted.records
        return counted.records + round((segment.size - counted.offset) * (counted.records - mark.records) / read)


def _age(segments: Sequence[SegmentFile], marks: Mapping[str, Mark]) -> float:
    """Seconds since the oldest record that a sink has not taken."""
    now = oldest = time.time()
    for segment in segments:
        if segment.begun >= oldest:
            break  # nothing in it, or in those after it, is older
        offset = segment.mark(marks).offset
        if offset < segment.size:
            oldest = min(oldest, _time(segment, offset, now))
    return round(max(0.0, now - oldest), 3)


def _time(segment: SegmentFile, offset: int, now: float) -> float:
    """When the first record after an offset was made; now if there is none."""
    try:
        line = whole_lines(segment.path, offset, limit=4096)
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
