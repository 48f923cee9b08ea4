"""Carrying records to one sink: in a thread of its own, with a position of its own, for as long as it takes."""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from ml_microservice.records.positions import Failure, Mark, Position, load_position, position_file, save_position
from ml_microservice.records.reading import Batch, SegmentFile, Segments, batches, if_closed
from ml_microservice.records.record import Record
from ml_microservice.records.set_aside import DeadLetters, Quarantine
from ml_microservice.records.sinks.sink import Refused, Sink, SinkDown

logger = logging.getLogger(__name__)
BATCH = 1000
"""Most records that are sent at once."""
GROWTH = 100
"""After so many batches without a failure, one may be twice as large again."""
LOOK_SECONDS = 0.2
"""Time between two looks for new records."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
"""Of a sink that does not take records."""


class Ending(threading.Event):
    """Set when shipping is to end, once there is nothing left to ship.

    Args:
        tries: how often a sink may then fail in a row before what is left is left.
        waits_for_writers: whether segments that are still written keep it going.
    """

    def __init__(self, tries: int = 1, waits_for_writers: bool = True) -> None:
        super().__init__()
        self.tries = tries
        self.waits_for_writers = waits_for_writers


class Carrier(threading.Thread):
    """Carries records from segments to a sink until it is told to end.

    Args:
        sink: that takes them.
        directory: of records.
        project: whose segments are read.
        quarantine: for lines that are no records.
        ending: told when to end.
        pause: seconds to wait after so many failures in a row.
    """

    def __init__(
        self,
        sink: Sink,
        directory: Path,
        project: str,
        quarantine: Quarantine,
        ending: Ending,
        pause: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__(name=f"sink {sink.name}", daemon=True)
        self.has_left = True
        """Whether it ended with something left to ship."""
        self._sink = sink
        self._file = position_file(directory, sink.name)
        self._segments = Segments(directory, project)
        self._dead_letters = DeadLetters(directory, sink.name)
        self._quarantine = quarantine
        self._ending = ending
        self._pause = pause or waiting_seconds
        self._position = load_position(self._file)
        self._ahead: set[str] = set()
        """Ids of records that the sink has taken beyond its position: of a line, or batch, that is not finished."""
        self._size = self._largest = BATCH
        self._failures = self._successes = 0

    @property
    def marks(self) -> Mapping[str, Mark]:
        """What the sink has taken, as the disk has it."""
        return self._position.marks

    def run(self) -> None:
        """Carry until told to end and done."""
        while True:
            is_ending = self._ending.is_set()
            try:
                has_moved, is_written = self._carry()
            except Exception as error:
                self._fail(error)
                if is_ending and self._failures >= self._ending.tries:
                    break
                self._wait(self._pause(self._failures))
                continue
            if not has_moved:
                if is_ending and not (is_written and self._ending.waits_for_writers):
                    self.has_left = False
                    break
                self._wait(LOOK_SECONDS)
        self._sink.close()

    def _wait(self, seconds: float) -> None:
        if self._ending.is_set():
            sleep(min(seconds, 1.0))
        else:
            self._ending.wait(seconds)

    def _carry(self) -> tuple[bool, bool]:
        """Send all that is new; tells whether there was any, and whether more may come.

        Raises:
            Exception: the sink did not take it.
        """
        # Before reading: what a writer appended until it closed its segment is then read.
        segments, _ = self._segments.look()
        is_written = self._ending.is_set() and any(not _is_closed(segment) for segment in segments)
        segments, _ = self._segments.look()
        present = {segment.name for segment in segments}
        has_moved = False
        for batch in batches(segments, self._position.marks, lambda: self._size, self._on_unreadable):
            self._send(batch)
            self._move(self._position.moved(batch.marks, present, len(batch.records)))
            has_moved = True
        if self._failures:
            self._recover()
        if self._position.failure:
            self._move(replace(self._position, failure=None))
        return has_moved, is_written

    def _move(self, position: Position) -> None:
        save_position(self._file, position)
        self._position = position

    def _send(self, batch: Batch) -> None:
        records = [record for record in batch.records if record.id not in self._ahead]
        while records:
            piece, records = records[: self._size], records[self._size :]
            self._send_some(piece)
            self._ahead.update(record.id for record in piece)
        self._ahead.clear()

    def _send_some(self, records: Sequence[Record]) -> None:
        try:
            self._sink.send(records)
        except Refused as refused:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._dead_letters.add(records, refused.reasons, time)
            reason = next(iter(refused.reasons.values()), "")
            logger.error("%s refuses %d records for good, the first: %s", self.name, len(refused.reasons), reason)
        self._recover()
        self._successes += 1
        if self._successes % GROWTH == 0:
            self._largest = min(BATCH, 2 * self._largest)
        self._size = min(self._largest, 2 * self._size)

    def _fail(self, error: Exception) -> None:
        """Note a failure; the batch may have been too large for the sink, so the next one is smaller."""
        self._failures += 1
        self._successes = 0
        self._size = max(1, self._size // 2)
        if self._failures == 1:
            self._largest = self._size
        message = str(error) if isinstance(error, SinkDown) else f"{type(error).__name__}: {error}"
        before = self._position.failure
        if self._failures == 1:
            is_expected = isinstance(error, SinkDown)
            logger.warning(
                "%s does not take records, which wait: %s", self.name, message, exc_info=None if is_expected else error
            )
        if before is None or before.message != message:
            since = before.since if before else datetime.now(UTC).isoformat(timespec="milliseconds")
            # It may be that the disk is full, which is then the failure.
            with suppress(OSError):
                self._move(replace(self._position, failure=Failure(since, message)))

    def _recover(self) -> None:
        if self._failures:
            logger.warning("%s takes records again, after %d failures", self.name, self._failures)
        self._failures = 0

    def _on_unreadable(self, segment: str, offset: int, line: bytes, reason: str) -> None:
        if self._quarantine.add(segment, offset, line, reason):
            logger.error("%s has a line at byte %d that is no record, now in quarantine: %s", segment, offset, reason)


def _is_closed(segment: SegmentFile) -> bool:
    try:
        with if_closed(segment.path) as is_closed:
            return is_closed
    except FileNotFoundError:
        return True


def waiting_seconds(failures: int) -> float:
    """Time to wait after failures in a row: longer each time, and at random, so that services do not come as one."""
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)
