"""Reading segments: whole lines from a place on, whether the segment is still being written or not."""

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
"""Bytes that are read at once; a line that is longer is read whole all the same."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment as its readers see it."""

    path: Path
    size: int
    """In bytes, when it was looked at."""
    start: int
    """Where its records begin."""

    @property
    def name(self) -> str:
        """Under which it stands in positions."""
        return self.path.name

    @property
    def begun(self) -> float:
        """When it was begun, as its name says: seconds since 1970; 0 if the name does not say."""
        try:
            return datetime.strptime(self.name.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return 0.0

    def mark(self, marks: Mapping[str, Mark]) -> Mark:
        """The mark in this segment; its start where there is none."""
        return marks.get(self.name) or Mark(self.start, 0)


class Segments:
    """The segments of a folder. Headers are read once."""

    def __init__(self, directory: Path, project: str) -> None:
        self._directory = directory
        self._project = project
        self._starts: dict[str, int | None] = {}

    def look(self) -> tuple[list[SegmentFile], list[str]]:
        """The segments that can be read, oldest first, and the names of those of another format or project."""
        ours, foreign = [], []
        paths = segment_files(self._directory)
        for path in paths:
            with suppress(FileNotFoundError):  # shipped and deleted meanwhile
                if path.name not in self._starts:
                    self._starts[path.name] = _start(path, self._project)
                start = self._starts[path.name]
                if start is None:
                    foreign.append(path.name)
                else:
                    ours.append(SegmentFile(path, path.stat().st_size, start))
        if len(self._starts) > 2 * len(paths) + 100:
            self._starts = {path.name: self._starts[path.name] for path in paths if path.name in self._starts}
        return ours, foreign


def _start(path: Path, project: str) -> int | None:
    line = whole_lines(path, 0, 4096).partition(b"\n")[0]
    try:
        header = orjson.loads(line)
        is_ours = header["format"] == FORMAT and header["project"] == project
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return len(line) + 1 if is_ours else None


def whole_lines(path: Path, offset: int, limit: int = CHUNK) -> bytes:
    """Whole lines from an offset on: as many as `limit` bytes hold, or one that is longer; empty if there is none.

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
def if_closed(path: Path) -> Iterator[bool]:
    """Whether nobody writes to a segment any more; nobody can begin to within the block."""
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
    """Records to send, and where their sink is once it has taken all of them."""

    records: list[Record]
    marks: dict[str, Mark]


OnUnreadable = Callable[[str, int, bytes, str], None]
"""Told of lines that are none: segment, offset, line, reason."""


def batches(
    segments: list[SegmentFile], marks: Mapping[str, Mark], size: Callable[[], int], on_unreadable: OnUnreadable
) -> Iterator[Batch]:
    """What a sink has not taken of segments, oldest first, in batches.

    Args:
        segments: to read.
        marks: what the sink has taken of them.
        size: tells how many records the next batch is to have; one ends with a line, so it may have more.
        on_unreadable: told of lines that are no records.
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
    """Offsets and whole lines without their newlines, up to the size that the segment had."""
    while offset < segment.size:
        try:
            lines = whole_lines(segment.path, offset)
        except FileNotFoundError:
            return  # all sinks that count have taken it
        if not lines:
            return  # the rest is torn, or being written
        for line in lines.split(b"\n")[:-1]:
            yield offset, line
            offset += len(line) + 1


def count_records(segment: SegmentFile, mark: Mark, limit: int | None = None) -> Mark:
    """Count on from a mark to the end of the last whole line.

    Args:
        segment: whose records are counted.
        mark: from where on.
        limit: bytes after which to stop.
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
