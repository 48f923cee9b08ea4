"""The results of a job, put together from those of its chunks: one chunk at a time, however many rows there are."""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import orjson
from anyio import CapacityLimiter, to_thread

from ml_microservice.errors import ServiceError
from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.answer_writers import Heading, answer_documents
from ml_microservice.inference.bulk_formats import BulkFormat
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.chunk_format import result_name
from ml_microservice.jobs.job import Job, ResultChunk
from ml_microservice.jobs.results.chunk_result import Result, unpack
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
AT_ONCE = 4
"""Chunks that are put in form at a time, of all requests."""
REMEMBERED = 256
"""Jobs of which is known what ids their rows have."""
NO_IDS = b'"entity_ids":null'
"""In a result as `results.pack` writes it, where no row was sent with an id."""
Value = TypeVar("Value")
IDS_BY_ROW = ("application/json", "application/x-ndjson")
"""Formats that name the entity id in the rows that have one, and so need not know of it before."""


@dataclass(frozen=True)
class ResultStream:
    """Some rows of a result in a format."""

    provenance: dict[str, str]
    """Which model answered the first of them, and when."""
    parts: AsyncIterator[bytes]


class ResultReader:
    """Reads results.

    Args:
        store: the store of jobs.
        settings: of the project.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        records = settings.records
        self._has_logged = bool(records.sinks) and records.when_full == "serve_unlogged"
        self._ids: OrderedDict[tuple[str, bool], tuple[bool, bool]] = OrderedDict()
        self._limiter: CapacityLimiter | None = None
        self._storage: JobStorage | None = None

    async def document(self, job: Job) -> tuple[bytes, dict[str, str]]:
        """The answer to a job of a single object, as `/predict` gives it, and which model gave it.

        Raises:
            Problem: the one that the object was answered by, or the result cannot be read.
        """
        result, _ = await self._run(lambda: self._chunk(job, 0))
        if result.answers.problems:
            raise result.answers.problems[0]
        (document,) = answer_documents(result.answers, result.classes, self._settings.id_name)
        return orjson.dumps({**document, **result.provenance}), result.provenance

    async def provenance(self, job: Job) -> dict[str, str]:
        """Which model answered the first rows of a job, and when.

        Raises:
            Problem: the result cannot be read.
        """
        return (await self._run(lambda: self._chunk(job, 0)))[0].provenance

    async def rows(self, job: Job, first: int, stop: int, format: BulkFormat) -> ResultStream:
        """Some rows of a result.

        Args:
            job: which has succeeded.
            first: the first row.
            stop: the row after the last one.
            format: of what comes.

        Raises:
            Problem: the result cannot be read.
        """
        begun = await self._run(lambda: self._chunk(job, first if first < job.rows else 0))
        result, _ = begun
        has_ids, has_text = await self._run(lambda: self._entity_ids(job, format))
        id_name = self._settings.id_name if has_ids else None
        heading = Heading(result.classes, id_name, has_text, result.provenance, self._has_logged)
        return ResultStream(result.provenance, self._parts(self._written(job, first, stop, format, heading, begun)))

    async def _parts(self, steps: Iterator[bytes]) -> AsyncIterator[bytes]:
        while (part := await self._run(lambda: next(steps, None))) is not None:
            if part:
                yield part

    def _written(
        self,
        job: Job,
        first: int,
        stop: int,
        format: BulkFormat,
        heading: Heading,
        begun: tuple[Result, ResultChunk],
    ) -> Iterator[bytes]:
        writer = format.writer(heading)
        row = first
        result, chunk = begun
        del begun  # or else the first chunk would be kept to the end
        while row < stop:
            if row != first:
                result, chunk = self._chunk(job, row)
            end = min(stop, chunk.first_row + chunk.rows)
            yield writer.write(_slice(_aligned(result, heading), row - chunk.first_row, end - chunk.first_row))
            row = end
        yield writer.end()

    def _entity_ids(self, job: Job, format: BulkFormat) -> tuple[bool, bool]:
        """Whether any row of the job has an entity id, and whether any of those is text; looked at where needed."""
        if self._settings.id_name is None or format.media_type in IDS_BY_ROW:
            return True, True
        key = job.job_id, format.needs_arrow
        if key not in self._ids:
            self._ids[key] = self._found_ids(job, needs_type=format.needs_arrow)
            if len(self._ids) > REMEMBERED:
                self._ids.popitem(last=False)
        return self._ids[key]

    def _found_ids(self, job: Job, *, needs_type: bool) -> tuple[bool, bool]:
        row, has_ids = 0, False
        while row < job.rows:
            data, chunk = self._read(job, row)
            if NO_IDS not in data:
                has_ids = True
                if not needs_type or any(isinstance(one, str) for one in unpack(data).answers.entity_ids):
                    return True, True
            row = chunk.first_row + chunk.rows
        return has_ids, False

    def _chunk(self, job: Job, row: int) -> tuple[Result, ResultChunk]:
        data, chunk = self._read(job, row)
        return unpack(data), chunk

    def _read(self, job: Job, row: int) -> tuple[bytes, ResultChunk]:
        """The result of the chunk that a row is in."""
        found = self._store.call(lambda store: store.result_chunks(job.job_id, row, 1))
        if not found:
            raise result_gone()
        chunk = found[0]
        if chunk.result is not None:
            return chunk.result, chunk
        try:
            if self._storage is None:
                self._storage = JobStorage(self._settings)
            return self._storage.read(job.job_id, result_name(chunk.number)), chunk
        except FileNotFoundError:
            raise result_gone() from None
        except (OSError, ServiceError) as error:
            logger.error("a result cannot be read from the storage: %s", error)
            raise result_unreadable() from None

    async def _run(self, call: Callable[[], Value]) -> Value:
        if self._limiter is None:
            self._limiter = CapacityLimiter(AT_ONCE)
        return await to_thread.run_sync(call, limiter=self._limiter)


def _slice(answers: AnswerTable, start: int, stop: int) -> AnswerTable:
    if start == 0 and stop == len(answers.values):
        return answers
    return AnswerTable(
        answers.values[start:stop],
        None if answers.probabilities is None else answers.probabilities[start:stop],
        {row - start: problem for row, problem in answers.problems.items() if start <= row < stop},
        answers.prediction_ids[start:stop],
        answers.entity_ids[start:stop],
        answers.is_logged,
    )


def _aligned(result: Result, heading: Heading) -> AnswerTable:
    """Answers with their probabilities in the order of the heading's classes, where another model gave them."""
    answers, classes = result.answers, list(result.classes)
    if answers.probabilities is None or classes == list(heading.classes):
        return answers
    columns = [
        answers.probabilities[:, classes.index(name)] if name in classes else np.full(len(answers.values), np.nan)
        for name in heading.classes
    ]
    return replace(answers, probabilities=np.stack(columns, axis=1))


def result_gone() -> Problem:
    """A result that was deleted while it was asked for."""
    return Problem(404, "not-found", "Not Found", "The job and its result are deleted: they were kept long enough.")


def result_unreadable() -> Problem:
    """A storage that does not answer."""
    detail = "The storage of results does not answer; the service's log says why."
    return Problem(503, "jobs-unavailable", "Jobs are not available", detail, headers={"retry-after": "5"})
