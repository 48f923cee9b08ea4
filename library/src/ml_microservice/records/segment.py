"""Segments: the local files of records, each written by one process.

A segment is a header line and then lines of `records.record`. Its writer holds a lock on it: a segment whose lock can
be taken is closed, whether its writer has closed it or died. It appears under its name with its header and
locked, so that nobody ever takes one that is being made for one that is closed.
"""

import errno
import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import orjson

from ml_microservice.errors import Fault, ServiceError

FORMAT = 1
"""Of the lines; a reader leaves segments of another format alone."""
SUFFIX, UNFINISHED = ".jsonl", ".new"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Errors of a disk that may pass; any other means that the folder cannot be used."""
RESERVE = 2**16
"""Bytes that must be free for a segment to be made: less would be full again at once."""
ABANDONED_SECONDS = 60
"""Age of a file that was never finished being made; making one takes less than a millisecond."""

sync_data = getattr(os, "fdatasync", os.fsync)
"""macOS has only the latter."""


def segments_folder(directory: Path) -> Path:
    """The folder of segments in the folder of records."""
    return directory / "segments"


def segment_files(directory: Path) -> list[Path]:
    """All segments, the oldest first."""
    return sorted(segments_folder(directory).glob(f"*{SUFFIX}"))


def prepare_folder(directory: Path) -> Path:
    """Make the folder of segments if there is none.

    Raises:
        ServiceError: it cannot be made, or not be written to.
    """
    folder = segments_folder(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if error.errno not in FULL:
            raise unusable(directory, error) from None
    return folder


def unusable(directory: Path, error: OSError) -> ServiceError:
    """What to tell people of a folder that cannot be used."""
    advice = "make it writable, set another records.directory, or, to record nothing, records.sinks: []"
    return ServiceError(
        Fault(f"records cannot be written to {directory}: {error.strerror}", "config.yaml", advice=advice)
    )


class Segment:
    """A segment that this process writes."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        """In bytes, of whole lines."""
        self._descriptor = descriptor
        self._start = self._synced = size

    @classmethod
    def create(cls, folder: Path, project: str) -> "Segment":
        """A new segment with its header, on the disk for good.

        Raises:
            OSError: there is no space, or the folder cannot be used.
        """
        now = datetime.now(UTC)
        path = folder / f"{now:%Y%m%dT%H%M%S.%fZ}-{uuid4().hex[:8]}{SUFFIX}"
        header = orjson.dumps({"format": FORMAT, "project": project, "started_at": now.isoformat()}) + b"\n"
        made = path.with_name(f"{path.name}{UNFINISHED}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(made, flags, 0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, header + b" " * RESERVE)
            os.ftruncate(descriptor, len(header))
            sync_data(descriptor)
            made.rename(path)
            _sync_folder(folder)
        except OSError:
            os.close(descriptor)
            for left in (made, path):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, len(header))

    @property
    def is_empty(self) -> bool:
        """Whether nothing follows the header."""
        return self.size == self._start

    @property
    def is_synced(self) -> bool:
        """Whether all lines are on the disk for good."""
        return self.size == self._synced

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has deleted the file, so that nobody would ever read what is appended."""
        return os.fstat(self._descriptor).st_nlink == 0

    def append(self, line: bytes) -> None:
        """Write a line, whole or not at all; what the process has written survives its death.

        Raises:
            OSError: it is not written; part of it may be, until it is `cut`.
        """
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def cut(self) -> None:
        """Remove what was written of a line that could not be written whole.

        Raises:
            OSError: it could not; the segment may end in a torn line, and nothing may be appended any more.
        """
        os.ftruncate(self._descriptor, self.size)

    def sync(self) -> None:
        """Have all lines on the disk for good; a power loss cannot take them any more.

        Raises:
            OSError: the disk failed. What it lost cannot be known, and nothing may be appended any more.
        """
        size = self.size
        try:
            sync_data(self._descriptor)
        finally:
            # The kernel reports a failure once, and then counts what it lost as written.
            self._synced = size

    def close(self) -> None:
        """Let go of the file; one without lines is deleted."""
        if self.is_empty:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove files of processes that were killed while they made a segment."""
    for path in folder.glob(f"*{UNFINISHED}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                path.unlink()


def waiting_bytes(directory: Path) -> int:
    """The size of all segments, of all processes."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(segments_folder(directory)) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # shipped and deleted meanwhile
                total += entry.stat().st_size
    return total


def _write(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk for good."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
