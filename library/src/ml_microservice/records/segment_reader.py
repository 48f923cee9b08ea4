"""Reads complete lines of segments from an offset on, also while a segment is still being written."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ml_microservice.records.positions import Mark
from ml_microservice.records.record import Record, records_in
from ml_microservice.records.segment import FORMAT, segment_files

CHUNK = 2**18
"""Bytes read at once. A longer line is still read completely."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment as readers see it."""

    path: Path
    size: int
    """Bytes, when the folder was scanned."""
    start: int
    """Offset of the first line of records."""

    @property
    def name(self) -> str:
        """The segment's key in positions."""
        return self.path.name

    @property
    def created(self) -> float:
        """Unix time at which it was created, from its name; 0 if the name has none."""
        try:
            return datetime.strptime(self.name.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return 0.0

    def mark(self, marks: Mapping[str, Mark]) -> Mark:
        """The mark in this segment; its start if there is none."""
        return marks.get(self.name) or Mark(self.start, 0)


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """The segments found in a folder."""

    readable: list[SegmentFile]
    """Segments of this project, oldest first."""
    foreign: list[str]
    """Names of segments of another format or project."""


class Segments:
    """The segments of a folder. Each header is read once."""

    def __init__(self, directory: Path, project: str) -> None:
        self._directory = directory
        self._project = project
        self._starts: dict[str, int | None] = {}

    def scan(self) -> SegmentScan:
        """List the segments that the folder holds now."""
        found = SegmentScan(readable=[], foreign=[])
        paths = segment_files(self._directory)
        for path in paths:
            with suppress(FileNotFoundError):  # shipped and deleted meanwhile
                if path.name not in self._starts:
                    self._starts[path.name] = _start(path, self._project)
                start = self._starts[path.name]
                if start is None:
                    found.foreign.append(path.name)
                else:
                    found.readable.append(SegmentFile(path, path.stat().st_size, start))
        if len(self._starts) > 2 * len(paths) + 100:
            self._starts = {path.name: self._starts[path.name] for path in paths if path.name in self._starts}
        return found


def _start(path: Path, project: str) -> int | None:
    line = complete_lines(path, 0, 4096).partition(b"\n")[0]
    try:
        header = orjson.loads(line)
        is_ours = header["format"] == FORMAT and header["project"] == project
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return len(line) + 1 if is_ours else None


def complete_lines(path: Path, offset: int, limit: int = CHUNK) -> bytes:
    """Complete lines from an offset on: those within `limit` bytes, or one longer line; empty if there is none.

    Raises:
        FileNotFoundError: the segment is gone.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(limit)
        while (end := data.rfind(b"\n")) < 0:
            more = file.read(limit)
            if not more:
                return b""
            data += more
    return data[: end + 1]


@contextmanager
def locked_if_closed(path: Path) -> Iterator[bool]:
    """Yield whether a segment is closed. A closed segment stays locked within the block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to send, and the marks of the sink after it has taken all of them."""

    records: list[Record]
    marks: dict[str, Mark]


OnUnreadable = Callable[[str, int, bytes, str], None]
"""Called for a line that cannot be parsed, with segment, offset, line and reason."""


def batches(
    segments: list[SegmentFile], marks: Mapping[str, Mark], size: Callable[[], int], on_unreadable: OnUnreadable
) -> Iterator[Batch]:
    """Batches of the records that a sink has not taken, oldest first.

    Args:
        segments: the segments to read.
        marks: how far the sink is in each segment.
        size: returns the wanted size of the next batch. Lines are not split, so a batch may be larger.
        on_unreadable: called for each line that cannot be parsed.
    """
    records: list[Record] = []
    moved: dict[str, Mark] = {}
    for segment in segments:
        mark = segment.mark(marks)
        for offset, line in _unread(segment, mark.offset):
            found: list[Record] = []
            try:
                found = records_in(line)
            except ValueError as error:
                on_unreadable(segment.name, offset, line, str(error))
            records += found
            mark = moved[segment.name] = Mark(offset + len(line) + 1, mark.records + len(found))
            if len(records) >= size():
                yield Batch(records, moved)
                records, moved = [], {}
    if moved:
        yield Batch(records, moved)


def _unread(segment: SegmentFile, offset: int) -> Iterator[tuple[int, bytes]]:
    """Complete lines with their offsets, without newlines, up to the size that the segment had when it was scanned."""
    while offset < segment.size:
        try:
            lines = complete_lines(segment.path, offset)
        except FileNotFoundError:
            return  # shipped to all sinks and deleted
        if not lines:
            return  # the rest is torn, or still being written
        for line in lines.split(b"\n")[:-1]:
            yield offset, line
            offset += len(line) + 1


def count_records(segment: SegmentFile, mark: Mark, limit: int | None = None) -> Mark:
    """Count records from a mark to the last complete line, and return the mark there.

    Args:
        segment: the segment to count in.
        mark: where to start.
        limit: bytes after which to stop; without it, the whole segment is counted.
    """
    end = segment.size if limit is None else mark.offset + limit
    for offset, line in _unread(segment, mark.offset):
        if offset >= end:
            break
        try:
            found = len(records_in(line))
        except ValueError:
            found = 0
        mark = Mark(offset + len(line) + 1, mark.records + found)
    return mark
