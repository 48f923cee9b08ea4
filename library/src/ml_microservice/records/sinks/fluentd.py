"""Records to Fluentd, or to whatever else takes its Forward protocol: sent in batches, stored once acknowledged."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_microservice.records.documents import TIME_KEY, document
from ml_microservice.records.record import Record
from ml_microservice.records.sinks.forward_protocol import ForwardConnection, ForwardError, entry
from ml_microservice.records.sinks.sink import Refused, SinkDown
from ml_microservice.settings import FluentdSettings

MESSAGE_BYTES = 2**20
"""About how much goes into one message, so that the time for its acknowledgement does not grow with the batch."""
TAGS = {"prediction": "predict", "feedback": "feedback"}
"""How the tag of a kind of record ends."""


class FluentdSink:
    """Sends records with the tags `<base>.predict` and `<base>.feedback`.

    Nothing counts as stored before the receiver has acknowledged it: a message whose acknowledgement is wrong, late or
    missing is sent again on another connection, so a record can arrive twice, with the same id.

    Args:
        settings: where it goes, and how it is secured.
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
            SinkDown: it has not come; what was wrong is said for people to read.
            Refused: records that the protocol cannot carry; the others are stored.
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
        """Let go of the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connected(self) -> ForwardConnection:
        if self._connection is None or not self._connection.usable:
            self.close()
            key, where = self._settings.shared_key, self._settings
            self._connection = ForwardConnection(
                where.host,
                where.port,
                where.timeout_seconds,
                where.tls,
                self._ca_file,
                key.get_secret_value() if key else None,
            )
        return self._connection


def _messages(entries: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Entries in order, in pieces of about `MESSAGE_BYTES`."""
    piece: list[bytes] = []
    size = 0
    for packed in entries:
        if piece and size + len(packed) > MESSAGE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(packed)
        size += len(packed)
    if piece:
        yield piece
