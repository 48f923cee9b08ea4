"""Handles the messages of a child process: claims the chunks, runs them, and stores their results."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from time import monotonic, sleep
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from ml_microservice.errors import DatabaseError
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import ChunkRef, ClaimedChunk, FinishedChunk
from ml_microservice.jobs.worker import metrics
from ml_microservice.jobs.worker.chunk_runner import ChunkRunner
from ml_microservice.jobs.worker.watchdog import Reason, Shutdown, Stopped, Watchdog, WatchedChunks
from ml_microservice.records.disk_sync import NotStored
from ml_microservice.records.recorder import Recorder
from ml_microservice.tracing.current_span import set_attribute

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore
    from ml_microservice.tracing.tracer import Tracer

logger = logging.getLogger(__name__)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
"""Pauses between two tries to reach the database."""
DISK_WAIT_SECONDS = 1
"""Pause between two checks of a disk that takes no records."""
Result = TypeVar("Result")


class Outcome(Enum):
    """What happens to a message."""

    DONE = "done"
    RETURNED = "returned"
    """It is returned to the queue, for another worker."""
    DEAD = "dead"
    """It becomes a dead letter: the attempts of its chunk are used up."""


class MessageHandler:
    """Handles messages, one at a time.

    Args:
        store: the store of jobs.
        runner: runs chunks.
        watchdog: watches what runs.
        recorder: records predictions; None if they are not recorded.
        shutdown: the worker's shutdown.
        worker: name of this process.
        max_attempts: most attempts of a chunk.
        tracer: traces runs; None without tracing.
    """

    def __init__(
        self,
        *,
        store: "JobStore",
        runner: ChunkRunner,
        watchdog: Watchdog,
        recorder: Recorder | None,
        shutdown: Shutdown,
        worker: str,
        max_attempts: int,
        tracer: "Tracer | None",
    ) -> None:
        self._store = store
        self._runner = runner
        self._watchdog = watchdog
        self._recorder = recorder
        self._shutdown = shutdown
        self._worker = worker
        self._max_attempts = max_attempts
        self._tracer = tracer

    def handle(
        self, refs: Sequence[ChunkRef], *, redelivered: bool, traces: Mapping[str, str] = MappingProxyType({})
    ) -> Outcome:
        """Run those chunks of a message that can be claimed.

        Args:
            refs: the chunks.
            redelivered: whether another process had the message before and did not acknowledge it.
            traces: `traceparent` of traced jobs, by job id.
        """
        try:
            self._wait_for_disk()
            claim = self._retried(
                lambda: self._store.claim(refs, self._worker, redelivered=redelivered), may_start_work=True
            )
            for job_id, number in claim.gave_up:
                logger.error("the attempts of chunk %d of job %s are used up: the job has failed", number, job_id)
                metrics.GAVE_UP.inc()
            if redelivered and len(refs) > 1:
                self._separate(claim.chunks)
            elif claim.chunks:
                self._run_all(claim.chunks, traces)
        except Stopped:
            return Outcome.RETURNED
        return Outcome.DEAD if claim.gave_up and len(refs) == 1 else Outcome.DONE

    def _separate(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Have each chunk sent in its own message, since one of them may have killed the process that ran them all."""
        if chunks:
            self._retried(lambda: self._store.release(chunks))
            self._send_again(chunks)

    def _run_all(self, chunks: Sequence[ClaimedChunk], traces: Mapping[str, str]) -> None:
        """Run chunks: those of a single object together, the others one by one.

        Raises:
            Stopped: the worker shuts down. Chunks without a result are queued again.
        """
        metrics.ATTEMPTS.inc(len(chunks))
        single = [chunk for chunk in chunks if chunk.is_single]
        groups = [*([single] if single else []), *([chunk] for chunk in chunks if not chunk.is_single)]
        with self._watchdog.watch(chunks) as watched:
            for group in groups:
                started = monotonic()
                try:
                    with self._traced(group, traces):
                        outcome = self._run(group, watched)
                        set_attribute("job.outcome", outcome)
                except Stopped as stopped:
                    outcome = "stopped"
                    if stopped.reason is Reason.SHUTDOWN:
                        metrics.count_run("returned", started)
                        self._retried(lambda: self._store.release(watched.held))
                        raise
                    logger.warning("%s %s", _named(group), stopped)
                    if stopped.reason is Reason.LATE:
                        outcome = self._retry(group)
                metrics.count_run(outcome, started)
                watched.done(group)

    def _traced(self, group: Sequence[ClaimedChunk], traces: Mapping[str, str]) -> AbstractContextManager[object]:
        block = self._tracer.chunks([chunk.job_id for chunk in group], traces) if self._tracer is not None else None
        return nullcontext() if block is None else block

    def _run(self, group: Sequence[ClaimedChunk], watched: WatchedChunks) -> str:
        """Run chunks together, and store the result of each.

        Returns:
            The outcome, for the metrics.

        Raises:
            Stopped: the run was stopped and has no result.
        """
        try:
            with watched.run(group):
                watched.check()
                results: Sequence[FinishedChunk | Problem]
                results = (
                    self._runner.run_single(group, watched)
                    if group[0].is_single
                    else [self._runner.run(group[0], watched)]
                )
        except NotStored as failed:
            logger.error("cannot record %s: %s", _named(group), failed.reason)
            self._retried(lambda: self._store.release(group))
            self._send_again(group)
            return "returned"
        except Problem as problem:  # the body cannot be read
            results = [problem]
        except Stopped:
            raise
        except Exception:
            logger.exception("%s failed", _named(group))
            return self._retry(group)
        return self._store_results(group, results)

    def _store_results(self, group: Sequence[ClaimedChunk], results: Sequence[FinishedChunk | Problem]) -> str:
        finished = [result for result in results if isinstance(result, FinishedChunk)]
        if finished:
            mine = self._retried(lambda: self._store.finish(finished))
            rows = {(chunk.job_id, chunk.number): chunk.rows for chunk in group}
            metrics.ROWS.inc(sum(rows[ref] for ref in mine))
            metrics.ROWS_FAILED.inc(sum(one.rows_failed for one in finished if (one.job_id, one.number) in mine))
        has_retries = False
        for chunk, result in zip(group, results, strict=True):
            if isinstance(result, Problem):
                # A server error may be temporary: the user's code may depend on something that is down.
                if result.status >= 500 and chunk.attempts < self._max_attempts:
                    self._retry([chunk])
                    has_retries = True
                else:
                    self._retried(partial(self._store.fail, chunk, result.as_json()))
        return "retried" if has_retries else "done" if finished else "failed"

    def _retry(self, group: Sequence[ClaimedChunk]) -> str:
        """Queue chunks again: at once after the first attempt, and later when nothing else waits."""
        for chunk in group:
            self._retried(partial(self._store.retry_later, chunk))
            metrics.RETRIES.inc()
        self._send_again([chunk for chunk in group if chunk.attempts == 1])
        return "retried"

    def _send_again(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Have the sweeper send a message for each of some queued chunks."""
        if chunks:
            self._retried(lambda: self._store.unpublished([(chunk.job_id, chunk.number) for chunk in chunks]))

    def _wait_for_disk(self) -> None:
        """Wait until the disk takes records, since no chunk may run without them.

        Raises:
            Stopped: the worker shuts down.
        """
        while self._recorder is not None:
            try:
                self._recorder.check()
            except NotStored:
                if self._shutdown.is_requested:
                    raise Stopped(Reason.SHUTDOWN) from None
                sleep(DISK_WAIT_SECONDS)
            else:
                break
        if self._shutdown.is_requested:
            raise Stopped(Reason.SHUTDOWN)

    def _retried(self, call: Callable[[], Result], *, may_start_work: bool = False) -> Result:
        """Call the store, again and again until the database answers.

        Args:
            call: the call.
            may_start_work: whether the call claims chunks, so that it is given up as soon as a shutdown is requested.

        Raises:
            Stopped: the worker shuts down first.
        """
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                return call()
            except DatabaseError as error:
                if wait == FIRST_WAIT_SECONDS:
                    logger.warning("the jobs database failed; waiting for it: %s", error)
                if self._shutdown.is_requested if may_start_work else self._shutdown.is_due:
                    raise Stopped(Reason.SHUTDOWN) from error
            sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def _named(chunks: Sequence[ClaimedChunk]) -> str:
    first = f"chunk {chunks[0].number} of job {chunks[0].job_id}"
    return first if len(chunks) == 1 else f"{first} and {len(chunks) - 1} others"
