"""A child process of a worker: the journal, connections and threads that it opens after the fork."""

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


class ChildProcess:
    """A process that runs chunks.

    Args:
        settings: the project's.
        model: the model, read before the fork.
        name: name of this process.
        shutdown: the worker's shutdown.

    Raises:
        ServiceError: the model or the folder of records cannot be used.
    """

    def __init__(self, settings: Settings, model: ReadModel, name: str, shutdown: Shutdown) -> None:
        served = model.proved()
        self._journal: Journal | None = None
        recorder = records = None
        if settings.records.sinks:
            self._journal = Journal(settings.records_directory, settings.name, settings.records)
            self._journal.open()
            recorder = Recorder(self._journal, settings.records, metrics.count_unlogged)
            schema, manifest = served.schema, served.manifest
            records = ModelRecorder(recorder, schema.spec, schema.classes, manifest.version, manifest.id)
        self._store = _open_store(settings, shutdown)
        jobs = settings.jobs
        runner = ChunkRunner(served, JobStorage(settings), jobs.inline_bytes, records)
        self._watchdog = Watchdog(self._store, jobs.timeout_seconds, shutdown)
        self._tracer = open_tracer(settings)
        self.messages = MessageHandler(
            store=self._store,
            runner=runner,
            watchdog=self._watchdog,
            recorder=recorder,
            shutdown=shutdown,
            worker=name,
            max_attempts=jobs.max_attempts,
            tracer=self._tracer,
        )

    def close(self) -> None:
        """Sync the records, and close threads and connections."""
        self._watchdog.close()
        if self._journal is not None:
            self._journal.close()
        self._store.close()
        if self._tracer is not None:
            self._tracer.close()


def _open_store(settings: Settings, shutdown: Shutdown) -> "JobStore":
    """Open the store of jobs, once the database answers."""
    open_engine(settings).dispose()  # faulty settings are reported at once
    is_logged = False
    while True:
        try:
            return open_job_store(settings)
        except DatabaseError as error:
            if shutdown.is_requested:
                raise
            if not is_logged:
                logger.warning("waiting for the jobs database: %s", error)
                is_logged = True
        sleep(LONGEST_WAIT_SECONDS)
