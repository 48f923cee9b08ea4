"""Segments: the local files of records, each written by one process.

A segment is a header line followed by lines of `records.record`. Its writer holds a lock on it: a segment whose lock
can be taken is closed, whether its writer closed it or died. A segment gets its final name only once it is locked and
has its header, so that a new segment is never mistaken for a closed one.
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
"""Format of the lines. A reader ignores segments of another format."""
SUFFIX, UNFINISHED = ".jsonl", ".new"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""Disk errors that may pass. Any other error means that the folder cannot be used."""
RESERVE = 2**16
"""Bytes that must be free to create a segment; with less, it would be full at once."""
ABANDONED_SECONDS = 60
"""Age at which an unfinished segment counts as abandoned. Creating one takes less than a millisecond."""

sync_data = getattr(os, "fdatasync", os.fsync)
"""Flushes a file's data to the disk. macOS has no `fdatasync`."""


def segments_folder(directory: Path) -> Path:
    """The folder of segments in the folder of records."""
    return directory / "segments"


def segment_files(directory: Path) -> list[Path]:
    """All segments, the oldest first."""
    return sorted(segments_folder(directory).glob(f"*{SUFFIX}"))


def prepare_folder(directory: Path) -> Path:
    """Create the folder of segments if it does not exist.

    Raises:
        ServiceError: the folder cannot be created or written to.
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
    """The error for a folder of records that cannot be used."""
    advice = "make it writable, set another records.directory, or, to record nothing, records.sinks: []"
    return ServiceError(
        Fault(f"records cannot be written to {directory}: {error.strerror}", "config.yaml", advice=advice)
    )


class Segment:
    """A segment that this process writes."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        """Bytes of complete lines."""
        self._descriptor = descriptor
        self._start = self._synced = size

    @classmethod
    def create(cls, folder: Path, project: str) -> "Segment":
        """Create a segment with its header, synced to the disk.

        Raises:
            OSError: the disk is full, or the folder cannot be used.
        """
        now = datetime.now(UTC)
        path = folder / f"{now:%Y%m%dT%H%M%S.%fZ}-{uuid4().hex[:8]}{SUFFIX}"
        header = orjson.dumps({"format": FORMAT, "project": project, "started_at": now.isoformat()}) + b"\n"
        unfinished = path.with_name(f"{path.name}{UNFINISHED}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o660)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, header + b" " * RESERVE)
            os.ftruncate(descriptor, len(header))
            sync_data(descriptor)
            unfinished.rename(path)
            _sync_folder(folder)
        except OSError:
            os.close(descriptor)
            for left in (unfinished, path):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, len(header))

    @property
    def is_empty(self) -> bool:
        """Whether the segment has no lines after its header."""
        return self.size == self._start

    @property
    def is_synced(self) -> bool:
        """Whether all lines have been synced to the disk."""
        return self.size == self._synced

    @property
    def is_deleted(self) -> bool:
        """Whether the file has been deleted, so that appended lines would never be read."""
        return os.fstat(self._descriptor).st_nlink == 0

    def append(self, line: bytes) -> None:
        """Write a line. Once this returns, the line survives the death of the process.

        Raises:
            OSError: the line was not written, or only partly: call `truncate` before appending again.
        """
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def truncate(self) -> None:
        """Remove the part of a line that a failed `append` has written.

        Raises:
            OSError: the segment may now end in a torn line, so nothing may be appended to it any more.
        """
        os.ftruncate(self._descriptor, self.size)

    def sync(self) -> None:
        """Sync all lines to the disk, so that they survive a power loss.

        Raises:
            OSError: the disk failed and may have lost lines, so nothing may be appended to the segment any more.
        """
        size = self.size
        try:
            sync_data(self._descriptor)
        finally:
            # The kernel reports a failure only once: a second sync would succeed without the lost data.
            self._synced = size

    def close(self) -> None:
        """Close the file; a segment without lines is deleted."""
        if self.is_empty:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove unfinished segments of processes that were killed."""
    for path in folder.glob(f"*{UNFINISHED}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                path.unlink()


def waiting_bytes(directory: Path) -> int:
    """Size of all segments of all processes."""
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
    """Sync the entries of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
