"""All that a process which serves needs for jobs."""

from ml_microservice.jobs.access import JobAccess
from ml_microservice.jobs.collecting import Collector
from ml_microservice.jobs.following import Followers
from ml_microservice.jobs.intake import Intake
from ml_microservice.jobs.submitting import Desk
from ml_microservice.settings import Settings


class JobOffice:
    """Jobs as the API sees them; nothing is opened and no thread runs before the first one asks.

    Args:
        settings: of the project.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.access = JobAccess(settings)
        self.followers = Followers(self.access)
        self.collector = Collector(self.access, settings)
        self._desk = Desk(self.access, settings)
        self.intake = Intake(self._desk, settings)

    def close(self) -> None:
        """Store and announce what was handed in, and let go of everything."""
        self.followers.close()
        self._desk.close()
        self.access.close()
