"""The shipper: takes records from the segments of a folder to all sinks, and deletes the segments that all have."""

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

from ml_microservice.records.carrier import Carrier, Ending
from ml_microservice.records.reading import SegmentFile, Segments, if_closed, whole_lines
from ml_microservice.records.set_aside import Quarantine
from ml_microservice.records.sinks.sink import Sink
from ml_microservice.records.tally import Tally

logger = logging.getLogger(__name__)
LOCK_TRIES = 20
TIDY_SECONDS = 1.0
"""Time between two looks for segments to delete."""


class Shipper:
    """Ships the records of a folder; one shipper works on it at a time, in whatever process.

    Args:
        directory: of records.
        project: whose segments are shipped.
        sinks: that take them; a segment is deleted once all of them have.
        ending: told when to end.
    """

    def __init__(self, directory: Path, project: str, sinks: Sequence[Sink], ending: Ending) -> None:
        self._directory = directory
        self._ending = ending
        self._segments = Segments(directory, project)
        quarantine = Quarantine(directory)
        self._carriers = [Carrier(sink, directory, project, quarantine, ending) for sink in sinks]
        self._tally = Tally(directory)
        self._foreign: list[str] = []
        self._trouble = ""

    def run(self, drain_seconds: float | None = None) -> bool:
        """Ship until told to end and done; tells whether everything has been taken.

        Args:
            drain_seconds: time that the sinks then have; without limit by default.
        """
        for carrier in self._carriers:
            carrier.start()
        while not self._ending.wait(TIDY_SECONDS):
            self._tidy()
        deadline = None if drain_seconds is None else monotonic() + drain_seconds
        for carrier in self._carriers:
            carrier.join(None if deadline is None else max(0.0, deadline - monotonic()))
        self._tidy()
        return not any(carrier.has_left for carrier in self._carriers)

    def _tidy(self) -> None:
        """Delete what all sinks have, and count what they have not."""
        try:
            segments, foreign = self._segments.look()
            if foreign and foreign != self._foreign:
                names = ", ".join(foreign)
                logger.error("segments of another format or project are left where they are: %s", names)
            self._foreign = foreign
            all_marks = [carrier.marks for carrier in self._carriers]
            for segment in segments:
                self._delete_if_done(segment, min(segment.mark(marks).offset for marks in all_marks))
            self._tally.count(segments, all_marks)
        except OSError as error:
            if str(error) != self._trouble:
                logger.exception("segments cannot be tidied up")
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _delete_if_done(self, segment: SegmentFile, taken: int) -> None:
        with suppress(FileNotFoundError), if_closed(segment.path) as is_closed:
            if not is_closed or whole_lines(segment.path, taken, limit=4096):
                return
            torn = segment.path.stat().st_size - taken
            segment.path.unlink()
            if torn > 0:
                logger.warning("%s ended in a torn line of %d bytes, which is left out", segment.name, torn)
                self._tally.cut(torn)


@contextmanager
def sole_shipper(directory: Path) -> Iterator[bool]:
    """Whether no other process ships the records of a folder; none can begin to within the block."""
    directory.mkdir(parents=True, exist_ok=True)
    with lock_file(directory).open("ab") as file:
        yield _is_taken(file)


def _is_taken(file: BinaryIO) -> bool:
    """Take the lock; who asks for the status holds it for some microseconds, so one try tells nothing."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.01)
        else:
            return True
    return False


def lock_file(directory: Path) -> Path:
    """The file that the shipper of a folder holds a lock on."""
    return directory / "ship.lock"
