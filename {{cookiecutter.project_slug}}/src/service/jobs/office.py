"""All that a process which serves needs for jobs."""

from service.jobs.access import JobAccess
from service.jobs.collecting import Collector
from service.jobs.following import Followers
from service.jobs.intake import Intake
from service.jobs.submitting import Desk
from service.settings import Settings


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
