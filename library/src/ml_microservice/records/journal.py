"""The journal of one process: appends records to its open segment, and syncs them in a background thread.

While the service runs, only this thread creates, syncs and closes segments. It runs every `sync_milliseconds`, and at
once when an answer waits for a sync or something has gone wrong.
"""

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ml_microservice.errors import ServiceError
from ml_microservice.records.disk_sync import DiskSync, NotStored
from ml_microservice.records.segment import FULL, Segment, prepare_folder, remove_abandoned, unusable, waiting_bytes
from ml_microservice.settings import RecordsSettings

logger = logging.getLogger(__name__)
CHECK_SECONDS = 1.0
"""Interval at which the size of the folder is measured and a full disk is tried again."""
CHECK_SHARE = 20
"""Measuring the folder takes at most 1/20 of the time, however many segments there are."""
CAP_REACHED = "as much as records.max_bytes allows is waiting to be shipped"
CLOSED = "the service is stopping"


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The state of a journal, and what has happened since its previous status."""

    appended: int
    """Records appended since the previous status."""
    waiting_bytes: int
    """Size of the segments of all processes."""
    is_full: bool
    """Whether records cannot be stored."""
    failed_syncs: int
    """Syncs that failed since the previous status. A power loss may then lose records that were already answered."""


def ignore_status(status: JournalStatus) -> None:
    """The observer of a journal that nobody watches."""


class Journal:
    """Appends lines of records to local segments. It is thread-safe.

    A journal belongs to one process: open it after forking. `append` opens it if necessary.

    Args:
        directory: the folder of records.
        project: the project's name, written into the header of each segment.
        settings: durability, sizes and intervals.
        notify: called with each new status, in the journal's thread.
    """

    def __init__(
        self,
        directory: Path,
        project: str,
        settings: RecordsSettings,
        notify: Callable[[JournalStatus], None] = ignore_status,
    ) -> None:
        self._directory = directory
        self._project = project
        self._settings = settings
        self._notify = notify
        self._segment_bytes = settings.segment_bytes
        self._is_strict = settings.durability == "strict"
        self._lock = threading.Lock()
        """Guards the fields below; never held during a sync."""
        self._segment: Segment | None = None
        self._first_append: float | None = None
        """When the first line was appended to the segment."""
        self._retired: list[Segment] = []
        """Segments that are still to be synced and closed."""
        self._sync: DiskSync | None = None
        """The next sync, if an answer waits for it."""
        self._appended = self._failed_syncs = 0
        self._full: str | None = None
        self._waiting_bytes = 0
        self._next_check = 0.0
        self._last_status = JournalStatus(appended=0, waiting_bytes=0, is_full=False, failed_syncs=0)
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def full(self) -> str | None:
        """Why records cannot be stored now; None if they can."""
        return self._full

    def open(self) -> None:
        """Create a segment and start the thread. If the disk is full, the thread creates the segment later.

        Raises:
            ServiceError: the folder cannot be used.
        """
        with self._lock:
            self._open()

    def append(self, line: bytes, records: int = 1) -> DiskSync | None:
        """Write a line. It survives the death of the process from then on.

        Args:
            line: JSON that ends with a newline.
            records: how many records the line holds.

        Returns:
            With `durability: strict`, the sync to wait for: the line then survives a power loss too.

        Raises:
            NotStored: the line was not written.
        """
        with self._lock:
            segment = self._segment
            if segment is None:
                segment = self._opened_segment()
            try:
                segment.append(line)
            except OSError as error:
                raise self._handle_failed_append(segment, error) from None
            self._appended += records
            if self._first_append is None:
                self._first_append = monotonic()
            if segment.size > self._segment_bytes:
                self._wake.set()
            if not self._is_strict:
                return None
            if self._sync is None:
                self._sync = DiskSync()
                self._wake.set()
            return self._sync

    def close(self) -> None:
        """Sync and close the segment. Later calls of `append` fail."""
        with self._lock:
            self._is_closed = True
            self._full = CLOSED
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _open(self) -> None:
        if self._thread is not None or self._full is not None:
            return
        folder = prepare_folder(self._directory)
        remove_abandoned(folder)
        self._waiting_bytes = waiting_bytes(self._directory)
        if self._waiting_bytes < self._settings.max_bytes:
            try:
                self._segment = Segment.create(folder, self._project)
            except OSError as error:
                if error.errno not in FULL:
                    raise unusable(self._directory, error) from None
                self._abandon_segment(_reason(error))
        else:
            self._abandon_segment(CAP_REACHED)
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def _opened_segment(self) -> Segment:
        """Open the journal if that has not been done, and return its segment.

        Raises:
            NotStored: there is no space for a segment.
        """
        self._open()
        if self._segment is None:
            raise NotStored(self._full or CLOSED)
        return self._segment

    def _handle_failed_append(self, segment: Segment, error: OSError) -> NotStored:
        """Remove what was written of the line, and abandon the segment."""
        logger.error("%s cannot be written: %s", segment.path.name, error)
        try:
            segment.truncate()
        except OSError:
            logger.exception("the torn end of %s cannot be removed: readers will skip it", segment.path.name)
        self._abandon_segment(_reason(error))
        self._wake.set()
        return NotStored(_reason(error))

    def _abandon_segment(self, reason: str) -> None:
        """Store nothing for now. The thread closes the segment, so that it can be shipped and deleted."""
        if self._full is None:
            logger.error("records cannot be stored (records.when_full is %s): %s", self._settings.when_full, reason)
        self._full = reason
        self._retire_segment()

    def _retire_segment(self) -> None:
        if self._segment is not None:
            self._retired.append(self._segment)
            self._segment, self._first_append = None, None

    def _run(self) -> None:
        interval = self._settings.sync_milliseconds / 1000
        while not self._is_closed:
            self._wake.wait(interval)
            self._wake.clear()
            self._run_once()
        with self._lock:
            self._retire_segment()
        self._run_once()

    def _run_once(self) -> None:
        try:
            if not self._is_closed:
                self._check_segment(monotonic())
            self._sync_segments()
            self._publish_status()
        except Exception:
            logger.exception("the thread of the journal failed; it continues")

    def _sync_segments(self) -> None:
        """Sync what was appended, close retired segments, and release the answers that wait."""
        with self._lock:
            segment, retired, sync = self._segment, self._retired, self._sync
            self._retired, self._sync = [], None
        failed: NotStored | None = None
        for each in (*retired, segment):
            if each is None or each.is_synced:
                continue
            try:
                each.sync()
            except OSError as error:
                logger.critical("%s cannot be synced, records may be lost: %s", each.path.name, error)
                failed = NotStored(_reason(error))
                self._failed_syncs += 1
                self._abandon_if_current(each, _reason(error))
        for each in retired:
            each.close()
        if sync is not None:
            sync.settle(failed)

    def _abandon_if_current(self, segment: Segment, reason: str) -> None:
        """Abandon a segment that is still open, and try to create another one at once."""
        with self._lock:
            if self._segment is segment:
                self._abandon_segment(reason)
                self._next_check = 0.0
                self._wake.set()

    def _check_segment(self, now: float) -> None:
        """Rotate the segment if it is due, and check the space regularly."""
        segment = self._segment
        if segment is not None and segment.is_deleted:
            logger.critical("%s was deleted while it was open: its records are lost", segment.path.name)
            self._abandon_if_current(segment, "the file of records was deleted")
        elif segment is not None and self._is_due(segment, now):
            self._rotate()
        if now >= self._next_check:
            self._check_space(now)

    def _is_due(self, segment: Segment, now: float) -> bool:
        is_old = self._first_append is not None and now - self._first_append >= self._settings.segment_seconds
        return is_old or segment.size > self._segment_bytes

    def _check_space(self, now: float) -> None:
        """Abandon the segment if `max_bytes` is reached; otherwise, create one if there is none."""
        waiting = self._waiting_bytes = waiting_bytes(self._directory)
        self._next_check = now + max(CHECK_SECONDS, CHECK_SHARE * (monotonic() - now))
        if waiting >= self._settings.max_bytes:
            with self._lock:
                self._abandon_segment(CAP_REACHED)
        elif self._full is not None:
            self._rotate()

    def _rotate(self) -> None:
        """Replace the segment by a new one, or abandon it if there is no space for another."""
        try:
            created = Segment.create(prepare_folder(self._directory), self._project)
        except (OSError, ServiceError) as error:
            with self._lock:
                self._abandon_segment(_reason(error))
            return
        with self._lock:
            self._retire_segment()
            if self._is_closed:
                self._retired.append(created)
                return
            if self._full is not None:
                logger.warning("records are stored again")
            self._segment, self._full = created, None

    def _publish_status(self) -> None:
        with self._lock:
            appended, self._appended = self._appended, 0
        failed, self._failed_syncs = self._failed_syncs, 0
        status = JournalStatus(
            appended=appended,
            waiting_bytes=self._waiting_bytes,
            is_full=self._full not in (None, CLOSED),
            failed_syncs=failed,
        )
        if appended or status != self._last_status:
            self._last_status = status
            self._notify(status)


def _reason(error: Exception) -> str:
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk for records is full" if is_full else "the disk for records failed"
