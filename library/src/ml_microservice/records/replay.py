"""Sending records once more: those that a sink refused, or those of the database to another sink."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import sleep

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.carrier import BATCH, waiting_seconds
from ml_microservice.records.record import Record
from ml_microservice.records.set_aside import DeadLetters
from ml_microservice.records.sinks.sink import Refused, Sink, SinkDown

TRIES = 5
"""How often records are offered before giving up: somebody is waiting for the command to end."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it."""

    taken: int
    refused: int


def replay_dead_letters(sink: Sink, directory: Path) -> Replay:
    """Offer a sink again what it refused, and remove what it takes.

    Raises:
        ServiceError: the sink is down; what it has not taken is kept.
    """
    taken = refused = 0
    with DeadLetters(directory, sink.name).taken() as letters:
        left: list[Record] = []
        try:
            while letters:
                batch = letters[:BATCH]
                reasons = _offer(sink, batch)
                left += [batch[row] for row in sorted(reasons)]
                del letters[: len(batch)]
                taken += len(batch) - len(reasons)
                refused += len(reasons)
        finally:
            letters += left
    return Replay(taken, refused)


def replay_records(sink: Sink, records: Iterable[Record], directory: Path) -> Replay:
    """Send records to a sink; what it refuses becomes dead letters.

    Raises:
        ServiceError: the sink is down.
    """
    taken = refused = 0
    for batch in _batches(records):
        try:
            reasons = _offer(sink, batch)
        except ServiceError as error:
            advice = "run it again once the sink is up: what comes twice does no harm"
            raise ServiceError(Fault(f"{error}; it has taken {taken} records", advice=advice)) from None
        if reasons:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            DeadLetters(directory, sink.name).add(batch, reasons, now)
        taken += len(batch) - len(reasons)
        refused += len(reasons)
    return Replay(taken, refused)


def _offer(sink: Sink, records: Sequence[Record]) -> dict[int, str]:
    """Send records; gives the reasons of those that are refused, by position.

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
            sleep(waiting_seconds(failures))
        else:
            break
    return {}


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while batch := list(islice(rest, BATCH)):
        yield batch
