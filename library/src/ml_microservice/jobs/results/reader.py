"""Reads the results of jobs, one chunk at a time, however many rows there are."""

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
from ml_microservice.jobs.job import Job, ResultChunk
from ml_microservice.jobs.problems import jobs_unavailable
from ml_microservice.jobs.results.chunk_result import ChunkResult, unpack
from ml_microservice.jobs.storage import JobStorage, result_name
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
MAX_READS = 4
"""Chunks that are read and formatted at a time, for all requests."""
MAX_REMEMBERED = 256
"""Jobs whose entity ids are remembered."""
NO_IDS = b'"entity_ids":null'
"""What `chunk_result.pack` writes if no row has an entity id."""
Value = TypeVar("Value")
IDS_BY_ROW = ("application/json", "application/x-ndjson")
"""Formats that write an entity id only in the rows that have one."""


@dataclass(frozen=True)
class EntityIds:
    """The entity ids of a job, as far as a table's columns depend on them."""

    exist: bool
    """Whether any row has one."""
    include_text: bool
    """Whether any of them is text."""


@dataclass(frozen=True)
class ResultStream:
    """Rows of a result, in a format."""

    provenance: dict[str, str]
    """The model that answered the first row, and the time."""
    blocks: AsyncIterator[bytes]
    """The formatted rows."""


@dataclass(frozen=True)
class _ReadChunk:
    """A result chunk with its decoded result."""

    chunk: ResultChunk
    result: ChunkResult


class ResultReader:
    """Reads and formats results.

    Args:
        store: the store of jobs.
        settings: the project's.
    """

    def __init__(self, store: LazyJobStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        records = settings.records
        self._has_logged = bool(records.sinks) and records.when_full == "serve_unlogged"
        self._entity_ids: OrderedDict[tuple[str, bool], EntityIds] = OrderedDict()
        self._limiter: CapacityLimiter | None = None
        self._storage: JobStorage | None = None

    async def document(self, job: Job) -> tuple[bytes, dict[str, str]]:
        """The answer to a job of a single object, as `/predict` would give it, and its provenance.

        Raises:
            Problem: the object was answered by a problem, or the result cannot be read.
        """
        result = (await self._run(lambda: self._chunk(job, 0))).result
        if result.answers.problems:
            raise result.answers.problems[0]
        (document,) = answer_documents(result.answers, result.classes, self._settings.id_name)
        return orjson.dumps({**document, **result.provenance}), result.provenance

    async def provenance(self, job: Job) -> dict[str, str]:
        """The model that answered the first rows of a job, and the time.

        Raises:
            Problem: the result cannot be read.
        """
        return (await self._run(lambda: self._chunk(job, 0))).result.provenance

    async def rows(self, job: Job, first: int, stop: int, format: BulkFormat) -> ResultStream:
        """Some rows of a result.

        Args:
            job: a job that has succeeded.
            first: the first row.
            stop: the row after the last one.
            format: the format to write.

        Raises:
            Problem: the result cannot be read.
        """
        read = await self._run(lambda: self._chunk(job, first if first < job.rows else 0))
        result = read.result
        entity_ids = await self._run(lambda: self._ids_of(job, format))
        id_name = self._settings.id_name if entity_ids.exist else None
        heading = Heading(result.classes, id_name, entity_ids.include_text, result.provenance, self._has_logged)
        return ResultStream(result.provenance, self._blocks(self._write(job, first, stop, format, heading, [read])))

    async def _blocks(self, steps: Iterator[bytes]) -> AsyncIterator[bytes]:
        while (block := await self._run(lambda: next(steps, None))) is not None:
            if block:
                yield block

    def _write(
        self, job: Job, first: int, stop: int, format: BulkFormat, heading: Heading, read: list[_ReadChunk]
    ) -> Iterator[bytes]:
        """Format rows. `read` holds the first chunk and is emptied, so that the chunk is freed after its rows."""
        writer = format.writer(heading)
        row = first
        while row < stop:
            one = read.pop() if read else self._chunk(job, row)
            chunk = one.chunk
            end = min(stop, chunk.first_row + chunk.rows)
            aligned = _aligned(one.result, heading)
            yield writer.write(aligned.slice(row - chunk.first_row, end - chunk.first_row))
            row = end
        yield writer.end()

    def _ids_of(self, job: Job, format: BulkFormat) -> EntityIds:
        """The entity ids of a job. Its results are searched for them only if the format needs to know."""
        if self._settings.id_name is None or format.media_type in IDS_BY_ROW:
            return EntityIds(exist=True, include_text=True)
        key = job.job_id, format.needs_arrow
        if key not in self._entity_ids:
            self._entity_ids[key] = self._search_ids(job, needs_type=format.needs_arrow)
            if len(self._entity_ids) > MAX_REMEMBERED:
                self._entity_ids.popitem(last=False)
        return self._entity_ids[key]

    def _search_ids(self, job: Job, *, needs_type: bool) -> EntityIds:
        row, exist = 0, False
        while row < job.rows:
            data, chunk = self._read(job, row)
            if NO_IDS not in data:
                exist = True
                if not needs_type or any(isinstance(one, str) for one in unpack(data).answers.entity_ids):
                    return EntityIds(exist=True, include_text=True)
            row = chunk.first_row + chunk.rows
        return EntityIds(exist=exist, include_text=False)

    def _chunk(self, job: Job, row: int) -> _ReadChunk:
        data, chunk = self._read(job, row)
        return _ReadChunk(chunk, unpack(data))

    def _read(self, job: Job, row: int) -> tuple[bytes, ResultChunk]:
        """The encoded result of the chunk that holds a row."""
        found = self._store.call(lambda store: store.result_chunks(job.job_id, row, 1))
        if not found:
            raise result_deleted()
        chunk = found[0]
        if chunk.result is not None:
            return chunk.result, chunk
        try:
            if self._storage is None:
                self._storage = JobStorage(self._settings)
            return self._storage.read(job.job_id, result_name(chunk.number)), chunk
        except FileNotFoundError:
            raise result_deleted() from None
        except (OSError, ServiceError) as error:
            logger.error("cannot read a result from the storage: %s", error)
            detail = "The storage of results does not answer; see the service's log."
            raise jobs_unavailable(detail, retry_seconds=5) from None

    async def _run(self, call: Callable[[], Value]) -> Value:
        if self._limiter is None:
            self._limiter = CapacityLimiter(MAX_READS)
        return await to_thread.run_sync(call, limiter=self._limiter)


def _aligned(result: ChunkResult, heading: Heading) -> AnswerTable:
    """Answers whose probabilities follow the heading's classes, which may be those of another model."""
    answers, classes = result.answers, list(result.classes)
    if answers.probabilities is None or classes == list(heading.classes):
        return answers
    columns = [
        answers.probabilities[:, classes.index(name)] if name in classes else np.full(len(answers.values), np.nan)
        for name in heading.classes
    ]
    return replace(answers, probabilities=np.stack(columns, axis=1))


def result_deleted() -> Problem:
    """The problem for a result that was deleted while it was read."""
    return Problem(404, "not-found", "Not Found", "The job has expired, and its result is deleted.")
