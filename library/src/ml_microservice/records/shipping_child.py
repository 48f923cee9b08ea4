"""The shipping of records, beside a process that writes them."""

from ml_microservice.processes.companion import Companion
from ml_microservice.settings import Settings

DRAIN_SECONDS = 5
"""Time to ship what is left when the process ends; what is left then is shipped after the next start."""


class Shipping(Companion):
    """`ml-service records ship` as a child; stop it after the last record was written.

    Args:
        settings: of the project, which say whether its processes ship their records at all.
    """

    def __init__(self, settings: Settings) -> None:
        words = ["records", "ship", "--child", "--drain-seconds", str(DRAIN_SECONDS)]
        super().__init__("ships records", words, DRAIN_SECONDS)
        self.is_wanted = bool(settings.records.sinks) and settings.records.shipping == "with_service"
