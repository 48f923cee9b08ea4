"""The thread that ships records to one sink. Each sink has its own thread and its own position."""

import logging
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

from ml_microservice.records.dead_letters import DeadLetters
from ml_microservice.records.positions import Failure, Mark, Position, load_position, position_file, save_position
from ml_microservice.records.quarantine import Quarantine
from ml_microservice.records.record import Record
from ml_microservice.records.segment_reader import Batch, SegmentFile, Segments, batches, locked_if_closed
from ml_microservice.records.sinks.sink import Refused, Sink, SinkDown

logger = logging.getLogger(__name__)
BATCH = 1000
"""Most records in a batch."""
GROWTH = 100
"""Batches without a failure after which the largest batch size may double again."""
POLL_SECONDS = 0.2
"""Interval at which the thread looks for new records."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
"""Shortest and longest wait before a failed batch is sent again."""


class StopEvent(threading.Event):
    """Tells sink threads to stop once they have shipped everything.

    Args:
        tries: failures in a row after which a sink thread gives up and leaves the rest unshipped.
        waits_for_writers: whether to keep shipping while segments are still being written.
    """

    def __init__(self, tries: int = 1, waits_for_writers: bool = True) -> None:
        super().__init__()
        self.tries = tries
        self.waits_for_writers = waits_for_writers


class SinkThread(threading.Thread):
    """Ships records from segments to a sink until it is told to stop.

    Args:
        sink: where the records go.
        directory: the folder of records.
        project: the project whose segments are read.
        quarantine: takes lines that cannot be parsed.
        stop: set when the thread is to stop.
    """

    def __init__(
        self,
        sink: Sink,
        directory: Path,
        project: str,
        quarantine: Quarantine,
        stop: StopEvent,
    ) -> None:
        super().__init__(name=f"sink {sink.name}", daemon=True)
        self.has_unshipped = True
        """Whether records were left when the thread stopped; True while it runs."""
        self._sink = sink
        self._file = position_file(directory, sink.name)
        self._segments = Segments(directory, project)
        self._dead_letters = DeadLetters(directory, sink.name)
        self._quarantine = quarantine
        self._stop_event = stop
        self._position = load_position(self._file)
        self._ahead: set[str] = set()
        """Ids of records that the sink has taken from a batch that is not finished."""
        self._size = self._largest = BATCH
        self._failures = self._successes = 0

    @property
    def marks(self) -> Mapping[str, Mark]:
        """How far the sink is in each segment, as stored on disk."""
        return self._position.marks

    def run(self) -> None:
        """Ship until told to stop and done."""
        while True:
            is_stopping = self._stop_event.is_set()
            try:
                has_moved, is_written = self._ship()
            except Exception as error:
                self._fail(error)
                if is_stopping and self._failures >= self._stop_event.tries:
                    break
                self._wait(backoff_seconds(self._failures))
                continue
            if not has_moved:
                if is_stopping and not (is_written and self._stop_event.waits_for_writers):
                    self.has_unshipped = False
                    break
                self._wait(POLL_SECONDS)
        self._sink.close()

    def _wait(self, seconds: float) -> None:
        if self._stop_event.is_set():
            sleep(min(seconds, 1.0))
        else:
            self._stop_event.wait(seconds)

    def _ship(self) -> tuple[bool, bool]:
        """Ship all new records; returns whether there were any, and whether a segment is still being written.

        Raises:
            Exception: the sink did not take them.
        """
        # Check for open segments before reading: what a writer appends before it closes its segment is then read.
        is_written = self._stop_event.is_set() and not all(map(_is_closed, self._segments.scan().readable))
        segments = self._segments.scan().readable
        present = {segment.name for segment in segments}
        has_moved = False
        for batch in batches(segments, self._position.marks, lambda: self._size, self._on_unreadable):
            self._send_batch(batch)
            self._save(self._position.moved(batch.marks, present, len(batch.records)))
            has_moved = True
        if self._failures:
            self._recover()
        if self._position.failure:
            self._save(replace(self._position, failure=None))
        return has_moved, is_written

    def _save(self, position: Position) -> None:
        save_position(self._file, position)
        self._position = position

    def _send_batch(self, batch: Batch) -> None:
        records = [record for record in batch.records if record.id not in self._ahead]
        while records:
            some, records = records[: self._size], records[self._size :]
            self._send(some)
            self._ahead.update(record.id for record in some)
        self._ahead.clear()

    def _send(self, records: Sequence[Record]) -> None:
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
        """Store the failure, and halve the batch size: the batch may have been too large for the sink."""
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
            # The failure itself may be a full disk.
            with suppress(OSError):
                self._save(replace(self._position, failure=Failure(since, message)))

    def _recover(self) -> None:
        if self._failures:
            logger.warning("%s takes records again, after %d failures", self.name, self._failures)
        self._failures = 0

    def _on_unreadable(self, segment: str, offset: int, line: bytes, reason: str) -> None:
        if self._quarantine.add(segment, offset, line, reason):
            logger.error("%s: the line at byte %d is not a record and is quarantined: %s", segment, offset, reason)


def _is_closed(segment: SegmentFile) -> bool:
    try:
        with locked_if_closed(segment.path) as is_closed:
            return is_closed
    except FileNotFoundError:
        return True


def backoff_seconds(failures: int) -> float:
    """Exponential backoff with jitter, so that several services do not retry at the same moment."""
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)
