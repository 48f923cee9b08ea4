"""Workers as they run, processes of their own that are killed and stopped; and jobs for them, without the API."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from ml_microservice.jobs.job import Job, NewChunk, NewJob
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.results.chunk_result import ChunkResult, unpack
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.store.job_store import open_job_store
from ml_microservice.settings import load_settings
from tests import waiting
from tests.bodies import CSV, JSON

SOURCE = Path(__file__).resolve().parents[2] / "src"
until = partial(waiting.until, seconds=240)


class Worker:
    """`ml-service worker` in a project.

    Args:
        project: whose folder it runs in.
        variables: of its environment.
    """

    def __init__(self, project: Path, variables: dict[str, str]) -> None:
        self._project = project
        # What is killed leaves its temporary files to the test's folder.
        own = {"PYTHONPATH": f"{SOURCE}:{SOURCE.parent}", "TMPDIR": str(project)}
        self._environment = {**os.environ, **own, **variables}
        self.log = project / f"worker-{uuid4().hex[:6]}.log"
        self.start()

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ml_microservice.cli", "worker"],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=log,
                start_new_session=True,
            )

    @property
    def children(self) -> list[int]:
        """The processes that run jobs."""
        found = subprocess.run(["pgrep", "-P", str(self._process.pid), "-f", "worker"], stdout=subprocess.PIPE)
        return [int(line) for line in found.stdout.split()]

    def kill(self) -> None:
        """End all its processes at once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(120)


@contextmanager
def working(project: Path, variables: dict[str, str], count: int = 1) -> Iterator[list[Worker]]:
    """Workers, which are killed with the block if they have not ended."""
    workers: list[Worker] = []
    try:
        for _ in range(count):
            workers.append(Worker(project, variables))
        yield workers
    finally:
        for worker in workers:
            worker.kill()


class Jobs:
    """The jobs of a project.

    Args:
        project: its folder.
        variables: its settings.
    """

    def __init__(self, project: Path, variables: dict[str, str]) -> None:
        self.settings = load_settings(project, variables)
        self.store = open_job_store(self.settings)
        self.queue = JobQueue(self.settings)

    def submit(self, areas: Iterable[Any]) -> list[str]:
        """Jobs of one house each, sent together in one message; their ids."""
        bodies = [json.dumps({"floor area": area, "lift": True, "house id": f"{area}"}) for area in areas]
        return self._submit([[body.encode()] for body in bodies], [1] * len(bodies), JSON, is_single=True)

    def submit_large(self, chunks: Sequence[Sequence[Any]]) -> str:
        """A job of CSV in several chunks, of which each has these houses; its id."""
        bodies = [b"floor area,lift\n" + b"".join(f"{area},true\n".encode() for area in areas) for areas in chunks]
        return self._submit([bodies], [len(areas) for areas in chunks], CSV, is_single=False)[0]

    def _submit(self, jobs: list[list[bytes]], rows: Sequence[int], media_type: str, *, is_single: bool) -> list[str]:
        new = []
        for bodies in jobs:
            firsts = [sum(rows[:number]) for number in range(len(bodies))]
            chunks = [NewChunk(number, firsts[number], rows[number], body) for number, body in enumerate(bodies)]
            new.append(NewJob(str(uuid4()), media_type, is_single, "digest", None, None, chunks))
        self.store.insert(new)
        refs = [(job.job_id, chunk.number) for job in new for chunk in job.chunks]
        self.queue.publish(*([refs], []) if is_single else ([], refs))
        return [job.job_id for job in new]

    def finished(self, ids: Sequence[str]) -> list[Job]:
        """The jobs, once they are finished."""
        until(lambda: all(job.is_finished for job in self.store.progress(ids).values()))
        found = self.store.progress(ids)
        return [found[job_id] for job_id in ids]

    def results(self, job_id: str) -> list[ChunkResult]:
        """Of the chunks of a job."""
        chunks = self.store.result_chunks(job_id, 0, 1_000_000)
        storage = JobStorage(self.settings)
        return [unpack(chunk.result or storage.read(job_id, f"result-{chunk.number}")) for chunk in chunks]

    def workers(self, job_id: str) -> set[str]:
        """Those who ran chunks of a job."""
        with self.store._reading() as connection:
            found = connection.execute(text("SELECT worker FROM job_chunks WHERE job_id = :id"), {"id": job_id})
            return {row[0].rpartition(":")[0] for row in found}
