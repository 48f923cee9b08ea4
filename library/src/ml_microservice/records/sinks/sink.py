"""What a sink is: it takes records, all of them or none, any number of times."""

from collections.abc import Sequence
from typing import Protocol

from ml_microservice.records.record import Record


class SinkDown(Exception):
    """The sink cannot take records now; the same ones are offered again later."""


class Refused(Exception):
    """The sink will never take these records: they go to its dead-letter file. It has taken the others.

    Args:
        reasons: by position in what was sent.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(f"{len(reasons)} records refused")


class Sink(Protocol):
    """Somewhere that records go. A record may come twice; its id makes that harmless."""

    name: str

    def send(self, records: Sequence[Record]) -> None:
        """Store records for good before returning.

        Raises:
            SinkDown: none or some of them may be stored; all have to be sent again.
            Refused: some of them will never be.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
