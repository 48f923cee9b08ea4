"""A worker in the test's own process, without a queue: it takes what waits and answers it, when it is told to."""

from collections.abc import Sequence
from typing import Any

from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import RowReader
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.jobs.chunk_format import body_format
from ml_microservice.jobs.job import ClaimedChunk, FinishedChunk
from ml_microservice.jobs.results.chunk_result import pack
from ml_microservice.jobs.storage import JobStorage, body_name, result_name
from ml_microservice.jobs.store.job_store import JobStore, open_job_store
from ml_microservice.settings import ApiSettings, Settings


class HandWorker:
    """Works when it is told to.

    Args:
        settings: of the project.
        served: the model.
    """

    def __init__(self, settings: Settings, served: ServedModel) -> None:
        self.store: JobStore = open_job_store(settings)
        self._settings = settings
        self._served = served
        self.storage = JobStorage(settings)
        self._core = Core(served, ApiSettings())

    def work(self, most: int = 1_000) -> int:
        """Answer some of the chunks that wait; how many there were."""
        claimed = self._claimed(most)
        for chunk in claimed:
            self.finish(chunk)
        return len(claimed)

    def fail_all(self, problem: dict[str, Any]) -> None:
        """Let the jobs fail whose chunks wait."""
        for chunk in self._claimed(1_000):
            self.store.fail(chunk, problem)

    def finish(self, chunk: ClaimedChunk) -> None:
        """Answer a chunk."""
        body = chunk.body if chunk.body is not None else self.storage.read(chunk.job_id, body_name(chunk.number))
        reader = RowReader(self._served)
        try:
            rows = reader.each([body]) if chunk.is_single else body_format(chunk.media_type).read(reader, body)
        except Problem as problem:
            self.store.fail(chunk, problem.as_json())
            return
        assert len(rows) == chunk.rows
        answers = self._core.answer_table(self._served, rows)
        provenance = {**self._served.provenance(), "timestamp": "2026-11-21T00:00:00.000+00:00"}
        result: bytes | None = pack(answers, provenance, self._served.schema.classes)
        assert result is not None
        if len(result) > self._settings.jobs.inline_bytes:
            self.storage.write(chunk.job_id, result_name(chunk.number), result)
            result = None
        self.store.finish([FinishedChunk(chunk.job_id, chunk.number, chunk.claim, answers.failed, result)])

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    def counts(self) -> tuple[int, int]:
        """Jobs and chunks that there are."""
        with self.store._reading() as connection:
            jobs, chunks = (
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
                for table in ("jobs", "job_chunks")
            )
        return jobs, chunks

    def _claimed(self, most: int) -> Sequence[ClaimedChunk]:
        with self.store._reading() as connection:
            text = "SELECT job_id, number FROM job_chunks WHERE state = 'queued' ORDER BY job_id, number"
            refs = [(str(row[0]), int(row[1])) for row in connection.exec_driver_sql(text)][:most]
        return self.store.claim(refs, "hand", redelivered=False).chunks
