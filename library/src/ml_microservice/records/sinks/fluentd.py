"""The sink `fluentd`: sends records to Fluentd, or to any other receiver of the Forward protocol."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_microservice.records.documents import TIME_KEY, document
from ml_microservice.records.record import Record
from ml_microservice.records.sinks.forward_protocol import ForwardConnection, ForwardError, entry
from ml_microservice.records.sinks.sink import Refused, SinkDown
from ml_microservice.settings import FluentdSettings

MESSAGE_BYTES = 2**20
"""Approximate size of a message. It is bounded, so that its acknowledgement does not take longer for large batches."""
TAGS = {"prediction": "predict", "feedback": "feedback"}
"""End of the tag by kind of record."""


class FluentdSink:
    """Sends records with the tags `<base>.predict` and `<base>.feedback`.

    Records count as stored once the receiver has acknowledged them. A message whose acknowledgement is wrong, late or
    missing is sent again on another connection, so a record can arrive twice, with the same id.

    Args:
        settings: address and security of the receiver.
        root: the folder that `fluentd.ca_file` is relative to.
        base: start of the tags.
    """

    name = "fluentd"

    def __init__(self, settings: FluentdSettings, root: Path, base: str) -> None:
        self._settings = settings
        self._ca_file = root / settings.ca_file if settings.ca_file else None
        self._base = base
        self._connection: ForwardConnection | None = None

    def send(self, records: Sequence[Record]) -> None:
        """Send records and wait for their acknowledgement.

        Raises:
            SinkDown: the receiver has not acknowledged all of them.
            Refused: the protocol cannot carry some of them; the others are stored.
        """
        entries: dict[str, list[bytes]] = {}
        refused: dict[int, str] = {}
        for position, record in enumerate(records):
            fields = document(record)
            try:
                packed = entry(fields[TIME_KEY], fields)
            except ValueError as error:
                refused[position] = str(error)
            else:
                entries.setdefault(f"{self._base}.{TAGS[record.kind]}", []).append(packed)
        try:
            for tag, packed_records in entries.items():
                for message in _messages(packed_records):
                    self._connected().send(tag, message)
        except ForwardError as error:
            self.close()
            raise SinkDown(f"fluentd: {error}") from error
        if refused:
            raise Refused(refused)

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connected(self) -> ForwardConnection:
        if self._connection is None or not self._connection.usable:
            self.close()
            settings = self._settings
            self._connection = ForwardConnection(
                host=settings.host,
                port=settings.port,
                timeout=settings.timeout_seconds,
                tls=settings.tls,
                ca_file=self._ca_file,
                shared_key=settings.shared_key.get_secret_value() if settings.shared_key else None,
            )
        return self._connection


def _messages(entries: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split entries into messages of about `MESSAGE_BYTES`."""
    message: list[bytes] = []
    size = 0
    for packed in entries:
        if message and size + len(packed) > MESSAGE_BYTES:
            yield message
            message, size = [], 0
        message.append(packed)
        size += len(packed)
    if message:
        yield message
