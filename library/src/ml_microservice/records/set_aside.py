"""What cannot be shipped, kept for people: records that a sink refused, and lines that are no records."""

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.segment import SUFFIX

KINDS: Mapping[str, type[PredictionRecord | FeedbackRecord]] = {
    "prediction": PredictionRecord,
    "feedback": FeedbackRecord,
}


class DeadLetters:
    """The records that a sink refused for good, with its reasons; safe to use from several processes.

    Args:
        directory: of records.
        sink: that refused them.
    """

    def __init__(self, directory: Path, sink: str) -> None:
        self._path = directory / "dead-letter" / f"{sink}{SUFFIX}"
        self._taken = self._path.with_suffix(".replay")
        """Those that are being offered again."""

    @property
    def files(self) -> list[Path]:
        """Where they are: one on each line."""
        return [path for path in (self._path, self._taken) if path.exists()]

    def add(self, records: Sequence[Record], reasons: Mapping[int, str], time: str) -> None:
        """Put refused records on the disk for good.

        Args:
            records: that were sent.
            reasons: of those that were refused, by position.
            time: when they were refused.

        Raises:
            OSError: that could not be done.
        """
        lines = [
            orjson.dumps({"reason": reason, "refused_at": time, "record": records[row].as_json()}) + b"\n"
            for row, reason in sorted(reasons.items())
        ]
        with self._locked():
            append_for_good(self._path, b"".join(lines))

    @contextmanager
    def taken(self) -> Iterator[list[Record]]:
        """Take the dead letters out; those that are still in the list in the end go back in, with their reasons."""
        with self._locked():
            if self._path.exists():
                append_for_good(self._taken, self._path.read_bytes())
                self._path.unlink()
        lines = _lines(self._taken)
        records = [_record(line) for line in lines]
        letters = [record for record in records if record is not None]
        try:
            yield letters
        finally:
            left = {record.id for record in letters}
            kept = [line for line, record in zip(lines, records, strict=True) if record is None or record.id in left]
            with self._locked():
                if kept:
                    append_for_good(self._path, b"".join(line + b"\n" for line in kept))
                self._taken.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _record(line: bytes) -> Record | None:
    """The record of a dead letter; None if the line is none, as a power loss can leave it."""
    try:
        data: dict[str, Any] = orjson.loads(line)["record"]
        return KINDS[data["kind"]](**data)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


class Quarantine:
    """Lines of segments that are no records, each of them once, however many sinks come across it."""

    def __init__(self, directory: Path) -> None:
        self._folder = quarantine_folder(directory)
        self._lock = threading.Lock()
        self._known: dict[str, set[int]] = {}

    def add(self, segment: str, offset: int, line: bytes, reason: str) -> bool:
        """Put a line on the disk for good, unless it is there; tells whether it was not.

        Raises:
            OSError: that could not be done.
        """
        path = self._folder / segment
        with self._lock:
            known = self._known.get(segment)
            if known is None:
                known = self._known[segment] = {_offset(entry) for entry in _lines(path)}
            if offset in known:
                return False
            text = line.decode("utf-8", "backslashreplace")
            entry = {"segment": segment, "offset": offset, "reason": reason, "line": text}
            append_for_good(path, orjson.dumps(entry) + b"\n")
            known.add(offset)
            return True


def _offset(entry: bytes) -> int:
    try:
        return int(orjson.loads(entry)["offset"])
    except orjson.JSONDecodeError:  # torn by a power loss
        return -1


def quarantine_folder(directory: Path) -> Path:
    """Where lines are that are no records: one file for each segment that had some."""
    return directory / "quarantine"


def append_for_good(path: Path, data: bytes) -> None:
    """Append lines to a file, on the disk for good, after what is whole in it.

    Raises:
        OSError: that could not be done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        end = file.tell()
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class LineCount:
    """How many lines files have; what was counted once is not read again."""

    def __init__(self) -> None:
        self._counted: dict[Path, tuple[int, int, int]] = {}

    def of(self, path: Path) -> int:
        """The lines of a file; 0 if there is none."""
        try:
            with path.open("rb", buffering=0) as file:
                state = os.fstat(file.fileno())
                inode, size, lines = self._counted.get(path, (0, 0, 0))
                if inode != state.st_ino or state.st_size < size:
                    size = lines = 0
                file.seek(size)
                while data := file.read(2**20):
                    size += len(data)
                    lines += data.count(b"\n")
        except FileNotFoundError:
            return 0
        self._counted[path] = (state.st_ino, size, lines)
        return lines
