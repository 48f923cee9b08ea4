"""The shipper: sends the records of a folder to all sinks, and deletes segments that all sinks have taken."""

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

from ml_microservice.records.quarantine import Quarantine
from ml_microservice.records.record_counts import RecordCounts
from ml_microservice.records.segment_reader import SegmentFile, Segments, complete_lines, locked_if_closed
from ml_microservice.records.sink_thread import SinkThread, StopEvent
from ml_microservice.records.sinks.sink import Sink

logger = logging.getLogger(__name__)
LOCK_TRIES = 20
CLEANUP_SECONDS = 1.0
"""Interval at which shipped segments are deleted."""


class Shipper:
    """Ships the records of a folder. Only one process may do so at a time: see `sole_shipper`.

    Args:
        directory: the folder of records.
        project: the project whose segments are shipped.
        sinks: where records go. A segment is deleted once all sinks have taken it.
        stop: set when the shipper is to stop.
    """

    def __init__(self, directory: Path, project: str, sinks: Sequence[Sink], stop: StopEvent) -> None:
        self._directory = directory
        self._stop_event = stop
        self._segments = Segments(directory, project)
        quarantine = Quarantine(directory)
        self._threads = [SinkThread(sink, directory, project, quarantine, stop) for sink in sinks]
        self._counts = RecordCounts(directory)
        self._foreign: list[str] = []
        self._last_error = ""

    def run(self, drain_seconds: float | None = None) -> bool:
        """Ship until told to stop; returns whether everything was shipped.

        Args:
            drain_seconds: time for shipping the rest after that; unlimited by default.
        """
        for thread in self._threads:
            thread.start()
        while not self._stop_event.wait(CLEANUP_SECONDS):
            self._clean_up()
        deadline = None if drain_seconds is None else monotonic() + drain_seconds
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
        self._clean_up()
        return not any(thread.has_unshipped for thread in self._threads)

    def _clean_up(self) -> None:
        """Delete segments that all sinks have taken, and count the records of the others."""
        try:
            found = self._segments.scan()
            if found.foreign and found.foreign != self._foreign:
                logger.error("segments of another format or project are ignored: %s", ", ".join(found.foreign))
            self._foreign = found.foreign
            all_marks = [thread.marks for thread in self._threads]
            for segment in found.readable:
                self._delete_if_shipped(segment, min(segment.mark(marks).offset for marks in all_marks))
            self._counts.update(found.readable, all_marks)
        except OSError as error:
            if str(error) != self._last_error:
                logger.exception("shipped segments cannot be deleted")
            self._last_error = str(error)
        else:
            self._last_error = ""

    def _delete_if_shipped(self, segment: SegmentFile, taken: int) -> None:
        with suppress(FileNotFoundError), locked_if_closed(segment.path) as is_closed:
            if not is_closed or complete_lines(segment.path, taken, limit=4096):
                return
            torn = segment.path.stat().st_size - taken
            segment.path.unlink()
            if torn > 0:
                logger.warning("%s ended in a torn line of %d bytes, which is skipped", segment.name, torn)
                self._counts.add_torn_bytes(torn)


@contextmanager
def sole_shipper(directory: Path) -> Iterator[bool]:
    """Yield whether this process may ship the records of a folder. It holds the shipper's lock within the block."""
    directory.mkdir(parents=True, exist_ok=True)
    with lock_file(directory).open("ab") as file:
        yield _take_lock(file)


def _take_lock(file: BinaryIO) -> bool:
    """Try several times: reading the status takes the lock for some microseconds."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.01)
        else:
            return True
    return False


def lock_file(directory: Path) -> Path:
    """The file that the shipper of a folder locks."""
    return directory / "ship.lock"
