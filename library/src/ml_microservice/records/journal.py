"""The journal of one process: lines go into its open segment at once, and onto the disk by a thread.

The thread, one for each journal, is all that ever opens, syncs and closes segments while the service runs. It looks in
every `sync_milliseconds`, or at once where an answer waits for the disk or something is wrong.
"""

import errno
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ml_microservice.errors import ServiceError
from ml_microservice.records.segment import FULL, Segment, prepare_folder, remove_abandoned, unusable, waiting_bytes
from ml_microservice.records.syncing import NotStored, Sync
from ml_microservice.settings import RecordsSettings

logger = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""Time between two looks at the size of the folder, and between two tries to find space again."""
LOOK_SHARE = 20
"""With very many segments a look takes long: then at most one part in so many of the time goes into looking."""
CAP_REACHED = "as much as records.max_bytes allows is waiting to be shipped"
CLOSED = "the service is stopping"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a journal tells of itself, each time that something has changed."""

    appended: int
    """Records appended since the last time."""
    waiting_bytes: int
    """In the segments of all processes."""
    is_full: bool
    """Whether records cannot be stored."""
    failed_syncs: int
    """Since the last time; after one, a power loss may cost what was answered before it."""


def ignore(turn: Turn) -> None:
    """For journals that nobody watches."""


class Journal:
    """Appends lines of records to local segments; safe to call from several threads.

    It belongs to one process: open it after forking. `append` opens it if that has not been done.

    Args:
        directory: of records.
        project: name that segments are marked with.
        settings: durability, sizes and times.
        on_turn: told, in the journal's thread, of what has changed.
    """

    def __init__(
        self, directory: Path, project: str, settings: RecordsSettings, on_turn: Callable[[Turn], None] = ignore
    ) -> None:
        self._directory = directory
        self._project = project
        self._settings = settings
        self._on_turn = on_turn
        self._segment_bytes = settings.segment_bytes
        self._is_strict = settings.durability == "strict"
        self._lock = threading.Lock()
        """Held to append and to exchange what is below; never during a sync."""
        self._segment: Segment | None = None
        self._begun: float | None = None
        """When the first line came into it."""
        self._retired: list[Segment] = []
        """To be synced and closed."""
        self._sync: Sync | None = None
        """Of the lines that somebody waits for."""
        self._appended = self._failed_syncs = 0
        self._full: str | None = None
        self._waiting_bytes = 0
        self._next_look = 0.0
        self._told = Turn(0, 0, False, 0)
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def full(self) -> str | None:
        """Why nothing can be stored at the moment; None if it can."""
        return self._full

    def open(self) -> None:
        """Begin a segment; on a full disk, as soon as there is space.

        Raises:
            ServiceError: the folder cannot be used.
        """
        with self._lock:
            self._open()

    def append(self, line: bytes, records: int = 1) -> Sync | None:
        """Write a line; the process may die then, and it is still there.

        Args:
            line: with its newline.
            records: how many are in it.

        Returns:
            With `durability: strict`, what to await until it is on the disk for good.

        Raises:
            NotStored: it is not written.
        """
        with self._lock:
            segment = self._segment
            if segment is None:
                segment = self._opened()
            try:
                segment.append(line)
            except OSError as error:
                raise self._failed(segment, error) from None
            self._appended += records
            if self._begun is None:
                self._begun = monotonic()
            if segment.size > self._segment_bytes:
                self._wake.set()
            if not self._is_strict:
                return None
            if self._sync is None:
                self._sync = Sync()
                self._wake.set()
            return self._sync

    def close(self) -> None:
        """Sync and close the segment; nothing can be appended any more."""
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
                self._part(_reason(error))
        else:
            self._part(CAP_REACHED)
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def _opened(self) -> Segment:
        """The segment of a journal that may not have been opened yet.

        Raises:
            NotStored: there is no space for one.
        """
        self._open()
        if self._segment is None:
            raise NotStored(self._full or CLOSED)
        return self._segment

    def _failed(self, segment: Segment, error: OSError) -> NotStored:
        """Part with a segment that could not be written, leaving it as it was before."""
        logger.error("%s cannot be written: %s", segment.path.name, error)
        try:
            segment.cut()
        except OSError:
            logger.exception("the torn end of %s cannot be removed: readers will leave it out", segment.path.name)
        self._part(_reason(error))
        self._wake.set()
        return NotStored(_reason(error))

    def _part(self, reason: str) -> None:
        """Go on without a segment: closed, the one that there was can be shipped and deleted."""
        if self._full is None:
            logger.error("records cannot be stored (records.when_full is %s): %s", self._settings.when_full, reason)
        self._full = reason
        self._retire()

    def _retire(self) -> None:
        if self._segment is not None:
            self._retired.append(self._segment)
            self._segment, self._begun = None, None

    def _run(self) -> None:
        interval = self._settings.sync_milliseconds / 1000
        while not self._is_closed:
            self._wake.wait(interval)
            self._wake.clear()
            self._turn()
        with self._lock:
            self._retire()
        self._turn()

    def _turn(self) -> None:
        try:
            if not self._is_closed:
                self._keep_room(monotonic())
            self._sync_all()
            self._tell()
        except Exception:
            logger.exception("the thread of the records failed; it goes on")

    def _sync_all(self) -> None:
        """Sync what was appended, close what is done with, and let go who waits."""
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
                self._give_up(each, _reason(error))
        for each in retired:
            each.close()
        if sync is not None:
            sync.settle(failed)

    def _give_up(self, segment: Segment, reason: str) -> None:
        """Append no more to a segment, and begin another as soon as that can be done."""
        with self._lock:
            if self._segment is segment:
                self._part(reason)
                self._next_look = 0.0
                self._wake.set()

    def _keep_room(self, now: float) -> None:
        """Rotate the segment if it is time, see how much is waiting, and find space again."""
        segment = self._segment
        if segment is not None and segment.is_deleted:
            logger.critical("%s was deleted while it was written: its records are lost", segment.path.name)
            self._give_up(segment, "the file of records was deleted")
        elif segment is not None and self._is_due(segment, now):
            self._begin()
        if now >= self._next_look:
            self._look(now)

    def _is_due(self, segment: Segment, now: float) -> bool:
        is_old = self._begun is not None and now - self._begun >= self._settings.segment_seconds
        return is_old or segment.size > self._segment_bytes

    def _look(self, now: float) -> None:
        waiting = self._waiting_bytes = waiting_bytes(self._directory)
        self._next_look = now + max(LOOK_SECONDS, LOOK_SHARE * (monotonic() - now))
        if waiting >= self._settings.max_bytes:
            with self._lock:
                self._part(CAP_REACHED)
        elif self._full is not None:
            self._begin()

    def _begin(self) -> None:
        """Exchange the segment for a new one, or part with it if there is no space for another."""
        try:
            created = Segment.create(prepare_folder(self._directory), self._project)
        except (OSError, ServiceError) as error:
            with self._lock:
                self._part(_reason(error))
            return
        with self._lock:
            self._retire()
            if self._is_closed:
                self._retired.append(created)
                return
            if self._full is not None:
                logger.warning("records are stored again")
            self._segment, self._full = created, None

    def _tell(self) -> None:
        with self._lock:
            appended, self._appended = self._appended, 0
        failed, self._failed_syncs = self._failed_syncs, 0
        turn = Turn(appended, self._waiting_bytes, self._full not in (None, CLOSED), failed)
        if appended or turn != self._told:
            self._told = turn
            self._on_turn(turn)


def _reason(error: Exception) -> str:
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk for records is full" if is_full else "the disk for records failed"
