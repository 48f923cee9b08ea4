"""Dead letters: records that a sink refused for good, kept until somebody replays them."""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from ml_microservice.records.durable_lines import append_durably, read_lines
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.segment import SUFFIX

KINDS: Mapping[str, type[PredictionRecord | FeedbackRecord]] = {
    "prediction": PredictionRecord,
    "feedback": FeedbackRecord,
}


class DeadLetters:
    """The dead letters of one sink, one per line, each with the sink's reason; safe to use from several processes.

    Args:
        directory: the folder of records.
        sink: the name of the sink that refused them.
    """

    def __init__(self, directory: Path, sink: str) -> None:
        self._path = directory / "dead-letter" / f"{sink}{SUFFIX}"
        self._taken = self._path.with_suffix(".replay")
        """Dead letters that are being replayed."""

    @property
    def files(self) -> list[Path]:
        """The files that hold dead letters."""
        return [path for path in (self._path, self._taken) if path.exists()]

    def add(self, records: Sequence[Record], reasons: Mapping[int, str], time: str) -> None:
        """Store refused records durably.

        Args:
            records: all records that were sent.
            reasons: why records were refused, by their position in `records`.
            time: when they were refused, as ISO 8601.

        Raises:
            OSError: they could not be stored.
        """
        lines = [
            orjson.dumps({"reason": reason, "refused_at": time, "record": records[row].as_json()}) + b"\n"
            for row, reason in sorted(reasons.items())
        ]
        with self._locked():
            append_durably(self._path, b"".join(lines))

    @contextmanager
    def taken(self) -> Iterator[list[Record]]:
        """Take all dead letters out. Those still in the list when the block ends are put back with their reasons."""
        with self._locked():
            if self._path.exists():
                append_durably(self._taken, self._path.read_bytes())
                self._path.unlink()
        lines = read_lines(self._taken)
        records = [_record(line) for line in lines]
        letters = [record for record in records if record is not None]
        try:
            yield letters
        finally:
            left = {record.id for record in letters}
            kept = [line for line, record in zip(lines, records, strict=True) if record is None or record.id in left]
            with self._locked():
                if kept:
                    append_durably(self._path, b"".join(line + b"\n" for line in kept))
                self._taken.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _record(line: bytes) -> Record | None:
    """The record of a dead letter; None if the line was torn by a power loss."""
    try:
        data: dict[str, Any] = orjson.loads(line)["record"]
        return KINDS[data["kind"]](**data)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
