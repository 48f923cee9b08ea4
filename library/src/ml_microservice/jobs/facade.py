"""Everything that a serving process needs for jobs, in one object."""

from ml_microservice.jobs.progress import ProgressWatcher
from ml_microservice.jobs.results.reader import ResultReader
from ml_microservice.jobs.store.lazy_store import LazyJobStore
from ml_microservice.jobs.submission.inserter import JobInserter
from ml_microservice.jobs.submission.submitter import JobSubmitter
from ml_microservice.settings import Settings


class JobsFacade:
    """The jobs of a service. It opens no connection and starts no thread before the first request for jobs.

    Args:
        settings: the project's.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = LazyJobStore(settings)
        self.progress = ProgressWatcher(self.store)
        self.results = ResultReader(self.store, settings)
        self._inserter = JobInserter(self.store, settings)
        self.submitter = JobSubmitter(self._inserter, settings)

    def close(self) -> None:
        """Store and publish what was submitted, then close all threads and connections."""
        self.progress.close()
        self._inserter.close()
        self.store.close()
