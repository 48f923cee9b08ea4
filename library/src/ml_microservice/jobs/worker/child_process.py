"""What a process of a worker has of its own, made after it was forked."""

import logging
from time import sleep
from typing import TYPE_CHECKING

from ml_microservice.database.engine import open_engine
from ml_microservice.errors import DatabaseError
from ml_microservice.inference.served_model import ReadModel
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.store.job_store import open_job_store
from ml_microservice.jobs.worker import metrics
from ml_microservice.jobs.worker.chunk_runner import ChunkRunner
from ml_microservice.jobs.worker.message_handler import LONGEST_WAIT_SECONDS, MessageHandler
from ml_microservice.jobs.worker.watchdog import Shutdown, Watchdog
from ml_microservice.records.journal import Journal
from ml_microservice.records.recorder import ModelRecorder, Recorder
from ml_microservice.settings import Settings
from ml_microservice.tracing.startup import open_tracer

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore

logger = logging.getLogger(__name__)


class Process:
    """A process that runs chunks.

    Args:
        settings: of the project.
        model: read before the fork.
        name: of the process.
        ending: of the worker.

    Raises:
        ServiceError: the model or the folder of records cannot be used.
    """

    def __init__(self, settings: Settings, model: ReadModel, name: str, ending: Shutdown) -> None:
        served = model.proved()
        self._journal: Journal | None = None
        recorder = records = None
        if settings.records.sinks:
            self._journal = Journal(settings.records_directory, settings.name, settings.records)
            self._journal.open()
            recorder = Recorder(self._journal, settings.records, metrics.count_unlogged)
            schema, manifest = served.schema, served.manifest
            records = ModelRecorder(recorder, schema.spec, schema.classes, manifest.version, manifest.id)
        self._store = _opened(settings, ending)
        jobs = settings.jobs
        runner = ChunkRunner(served, JobStorage(settings), jobs.inline_bytes, records)
        self._watch = Watchdog(self._store, jobs.timeout_seconds, ending)
        self._tracer = open_tracer(settings)
        self.deliveries = MessageHandler(
            self._store, runner, self._watch, recorder, ending, name, jobs.max_attempts, self._tracer
        )

    def close(self) -> None:
        """Sync the records, and let go of everything."""
        self._watch.close()
        if self._journal is not None:
            self._journal.close()
        self._store.close()
        if self._tracer is not None:
            self._tracer.close()


def _opened(settings: Settings, ending: Shutdown) -> "JobStore":
    """The store of the jobs, once the database answers."""
    open_engine(settings).dispose()  # what is wrong with its settings is said at once
    is_told = False
    while True:
        try:
            return open_job_store(settings)
        except DatabaseError as error:
            if ending.at is not None:
                raise
            if not is_told:
                logger.warning("waiting for the database of jobs: %s", error)
                is_told = True
        sleep(LONGEST_WAIT_SECONDS)
