"""The child process that ships the records of a service."""

from ml_microservice.processes.companion import Companion
from ml_microservice.settings import Settings

DRAIN_SECONDS = 5
"""Time for shipping the rest when the service stops. Records left after it are shipped after the next start."""


class ShippingChild(Companion):
    """Runs `ml-service records ship` as a child, if the settings ask for that. Stop it after the last record.

    Args:
        settings: the project's settings.
    """

    def __init__(self, settings: Settings) -> None:
        words = ["records", "ship", "--child", "--drain-seconds", str(DRAIN_SECONDS)]
        super().__init__("ships records", words, DRAIN_SECONDS)
        self.is_wanted = bool(settings.records.sinks) and settings.records.shipping == "with_service"
