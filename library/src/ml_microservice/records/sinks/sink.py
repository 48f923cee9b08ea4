"""The interface of sinks."""

from collections.abc import Sequence
from typing import Protocol

from ml_microservice.records.record import Record


class SinkDown(Exception):
    """The sink cannot take records now. The same records are sent again later."""


class Refused(Exception):
    """The sink refused some records for good, which become dead letters. It has taken the others.

    Args:
        reasons: why records were refused, by position.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(f"{len(reasons)} records refused")


class Sink(Protocol):
    """A destination of records. It may receive a record twice; the record's id makes that harmless."""

    name: str

    def send(self, records: Sequence[Record]) -> None:
        """Store records durably before returning.

        Raises:
            SinkDown: the records may be stored partly or not at all; all of them must be sent again.
            Refused: the sink will never store some of them.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...
