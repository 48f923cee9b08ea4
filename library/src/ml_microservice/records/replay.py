"""Sends records again: a sink's dead letters, or records of the database to another sink."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import sleep

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.dead_letters import DeadLetters
from ml_microservice.records.record import Record
from ml_microservice.records.sink_thread import BATCH, backoff_seconds
from ml_microservice.records.sinks.sink import Refused, Sink, SinkDown

TRIES = 5
"""Tries before giving up. They are few, because a person waits for the command."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How many records the sink took and refused."""

    taken: int
    refused: int


def replay_dead_letters(sink: Sink, directory: Path) -> Replay:
    """Send a sink its dead letters again, and remove those that it takes.

    Raises:
        ServiceError: the sink is down. Dead letters that it has not taken are kept.
    """
    taken = refused = 0
    with DeadLetters(directory, sink.name).taken() as letters:
        left: list[Record] = []
        try:
            while letters:
                batch = letters[:BATCH]
                reasons = _send(sink, batch)
                left += [batch[row] for row in sorted(reasons)]
                del letters[: len(batch)]
                taken += len(batch) - len(reasons)
                refused += len(reasons)
        finally:
            letters += left
    return Replay(taken, refused)


def replay_records(sink: Sink, records: Iterable[Record], directory: Path) -> Replay:
    """Send records to a sink. Those that it refuses become dead letters.

    Raises:
        ServiceError: the sink is down.
    """
    taken = refused = 0
    for batch in _batches(records):
        try:
            reasons = _send(sink, batch)
        except ServiceError as error:
            advice = "run it again once the sink is up: records that arrive twice do no harm"
            raise ServiceError(Fault(f"{error}; it has taken {taken} records", advice=advice)) from None
        if reasons:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            DeadLetters(directory, sink.name).add(batch, reasons, now)
        taken += len(batch) - len(reasons)
        refused += len(reasons)
    return Replay(taken, refused)


def _send(sink: Sink, records: Sequence[Record]) -> dict[int, str]:
    """Send records; returns why records are refused, by position.

    Raises:
        ServiceError: the sink is down.
    """
    for failures in range(1, TRIES + 1):
        try:
            sink.send(records)
        except Refused as refused:
            return refused.reasons
        except SinkDown as down:
            if failures == TRIES:
                raise ServiceError(Fault(f"{sink.name} does not take records: {down}")) from None
            sleep(backoff_seconds(failures))
        else:
            break
    return {}


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while batch := list(islice(rest, BATCH)):
        yield batch
