"""How far a sink is, in a file that is there as a whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a segment."""

    offset: int
    """Bytes before it; always the start of a line."""
    records: int
    """Records before it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What keeps a sink from taking records."""

    since: str
    """ISO 8601, UTC."""
    message: str


@dataclass(frozen=True, slots=True)
class Position:
    """What a sink has taken, and what it said last."""

    marks: Mapping[str, Mark] = field(default_factory=dict)
    """By name of the segment; nothing has been taken of one that is not here."""
    shipped: int = 0
    """Records taken so far, repetitions included."""
    failure: Failure | None = None
    """None as long as it takes records."""

    def moved(self, marks: Mapping[str, Mark], present: set[str], records: int) -> Self:
        """The position after more records, without the segments that are gone."""
        kept = {name: mark for name, mark in self.marks.items() if name in present}
        return replace(self, marks={**kept, **marks}, shipped=self.shipped + records, failure=None)


def position_file(directory: Path, sink: str) -> Path:
    """Where the position of a sink is kept."""
    return directory / "positions" / f"{sink}.json"


def load_position(path: Path) -> Position:
    """The position in a file; without one that can be read, the start: repeating records is harmless."""
    data = read_json(path)
    with suppress(KeyError, TypeError):
        failure = Failure(**data["failure"]) if data["failure"] else None
        return Position(marks_in(data), data["shipped"], failure)
    return Position()


def save_position(path: Path, position: Position) -> None:
    """Put a position on the disk for good.

    Raises:
        OSError: that could not be done; what was there before still is.
    """
    failure = position.failure and {"since": position.failure.since, "message": position.failure.message}
    write_json(path, {"segments": marks_out(position.marks), "shipped": position.shipped, "failure": failure})


def marks_in(data: Mapping[str, Any]) -> dict[str, Mark]:
    """Marks as a file has them.

    Raises:
        KeyError, TypeError: the file has none.
    """
    return {name: Mark(**mark) for name, mark in data["segments"].items()}


def marks_out(marks: Mapping[str, Mark]) -> dict[str, dict[str, int]]:
    """Marks for a file."""
    return {name: {"offset": mark.offset, "records": mark.records} for name, mark in sorted(marks.items())}


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; empty if there is none that can be read."""
    try:
        data = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file by another in one step that a power loss cannot halve.

    Raises:
        OSError: that could not be done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
