"""What a process of a worker does with a message: claim its chunks, run them, and keep what came of it."""

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
"""Between two tries of what the database, or the disk, did not do."""
Result = TypeVar("Result")


class Outcome(Enum):
    """What becomes of a message."""

    DONE = "done"
    RETURNED = "returned"
    """To the queue, for another worker."""
    DEAD = "dead"
    """Its chunk was begun too often."""


class MessageHandler:
    """Handles messages, one at a time.

    Args:
        store: of the jobs.
        runner: of their chunks.
        watch: over what is run.
        recorder: of predictions, if they are recorded.
        ending: of the worker.
        worker: this process's name.
        max_attempts: of a chunk.
        tracer: of this process, if there are traces.
    """

    def __init__(
        self,
        store: "JobStore",
        runner: ChunkRunner,
        watch: Watchdog,
        recorder: Recorder | None,
        ending: Shutdown,
        worker: str,
        max_attempts: int,
        tracer: "Tracer | None" = None,
    ) -> None:
        self._tracer = tracer
        self._store = store
        self._runner = runner
        self._watch = watch
        self._recorder = recorder
        self._ending = ending
        self._worker = worker
        self._max_attempts = max_attempts

    def take(
        self, refs: Sequence[ChunkRef], *, redelivered: bool, traces: Mapping[str, str] = MappingProxyType({})
    ) -> Outcome:
        """Run what there is to run of a message's chunks.

        Args:
            refs: the chunks.
            redelivered: whether the message was with another process before, which has not acknowledged it.
            traces: `traceparent` of the jobs whose submissions are traced.
        """
        try:
            # Nothing is begun any more.
            self._wait_for_disk(lambda: self._ending.at is not None)
            claim = self._patiently(
                lambda: self._store.claim(refs, self._worker, redelivered=redelivered),
                lambda: self._ending.at is not None,
            )
            for job_id, number in claim.gave_up:
                logger.error("chunk %d of job %s was begun too often: the job has failed", number, job_id)
                metrics.GAVE_UP.inc()
            if redelivered and len(refs) > 1:
                self._part(claim.chunks)
            elif claim.chunks:
                self._run_all(claim.chunks, traces)
        except Stopped:
            return Outcome.RETURNED
        return Outcome.DEAD if claim.gave_up and len(refs) == 1 else Outcome.DONE

    def _part(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Have chunks sent each by itself: one of them may have been the death of whoever ran them together."""
        if chunks:
            self._patiently(lambda: self._store.release(chunks))
            self._send_again(chunks)

    def _run_all(self, chunks: Sequence[ClaimedChunk], traces: Mapping[str, str]) -> None:
        """Run chunks: those of a single object together, the others one by one.

        Raises:
            Stopped: the worker ends; what has no result is in the queue again.
        """
        metrics.ATTEMPTS.inc(len(chunks))
        single = [chunk for chunk in chunks if chunk.is_single]
        groups = [*([single] if single else []), *([chunk] for chunk in chunks if not chunk.is_single)]
        with self._watch.over(chunks) as watched:
            for group in groups:
                started = monotonic()
                try:
                    with self._traced(group, traces):
                        outcome = self._run(group, watched)
                        set_attribute("job.outcome", outcome)
                except Stopped as stopped:
                    outcome = "stopped"
                    if stopped.reason is Reason.ENDING:
                        metrics.count_run("returned", started)
                        self._patiently(lambda: self._store.release(watched.held))
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
        """Run chunks together, and keep what came of each; what is to be counted.

        Raises:
            Stopped: they are to end without a result.
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
            logger.error("%s cannot be recorded: %s", _named(group), failed.reason)
            self._patiently(lambda: self._store.release(group))
            self._send_again(group)
            return "returned"
        except Problem as problem:  # of a body that nobody can read
            results = [problem]
        except Stopped:
            raise
        except Exception:
            logger.exception("%s failed", _named(group))
            return self._retry(group)
        return self._keep(group, results)

    def _keep(self, group: Sequence[ClaimedChunk], results: Sequence[FinishedChunk | Problem]) -> str:
        """Store what came of chunks."""
        finished = [result for result in results if isinstance(result, FinishedChunk)]
        if finished:
            mine = self._patiently(lambda: self._store.finish(finished))
            rows = {(chunk.job_id, chunk.number): chunk.rows for chunk in group}
            metrics.ROWS.inc(sum(rows[ref] for ref in mine))
            metrics.ROWS_FAILED.inc(sum(one.rows_failed for one in finished if (one.job_id, one.number) in mine))
        retried = False
        for chunk, result in zip(group, results, strict=True):
            if isinstance(result, Problem):
                # The user's code may have needed something that was away.
                if result.status >= 500 and chunk.attempts < self._max_attempts:
                    self._retry([chunk])
                    retried = True
                else:
                    self._patiently(partial(self._store.fail, chunk, result.as_json()))
        return "retried" if retried else "done" if finished else "failed"

    def _retry(self, group: Sequence[ClaimedChunk]) -> str:
        """Have chunks run once more: soon after the first attempt, and then when there is nothing else to do."""
        for chunk in group:
            self._patiently(partial(self._store.retry_later, chunk))
            metrics.RETRIES.inc()
        self._send_again([chunk for chunk in group if chunk.attempts == 1])
        return "retried"

    def _send_again(self, chunks: Sequence[ClaimedChunk]) -> None:
        """Have the sweeper send messages for chunks that are in the queue again, each by itself."""
        if chunks:
            self._patiently(lambda: self._store.unpublished([(chunk.job_id, chunk.number) for chunk in chunks]))

    def _wait_for_disk(self, is_over: Callable[[], bool]) -> None:
        """Begin nothing while it could not be recorded.

        Raises:
            Stopped: the worker ends.
        """
        while self._recorder is not None:
            try:
                self._recorder.check()
            except NotStored:
                if is_over():
                    raise Stopped(Reason.ENDING) from None
                sleep(1)
            else:
                break
        if is_over():
            raise Stopped(Reason.ENDING)

    def _patiently(self, call: Callable[[], Result], is_over: Callable[[], bool] | None = None) -> Result:
        """What a call of the store gives, once the database answers.

        Raises:
            Stopped: the worker ends before that.
        """
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                return call()
            except DatabaseError as error:
                if wait == FIRST_WAIT_SECONDS:
                    logger.warning("the database of jobs failed, waiting for it: %s", error)
                if (is_over or self._is_over)():
                    raise Stopped(Reason.ENDING) from error
            sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _is_over(self) -> bool:
        return self._ending.at is not None and monotonic() >= self._ending.at


def _named(chunks: Sequence[ClaimedChunk]) -> str:
    first = f"chunk {chunks[0].number} of job {chunks[0].job_id}"
    return first if len(chunks) == 1 else f"{first} and {len(chunks) - 1} others"
