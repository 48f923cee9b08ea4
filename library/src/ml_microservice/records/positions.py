"""The position of a sink, stored in a file that is replaced atomically."""

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
    """Bytes before the mark; always the start of a line."""
    records: int
    """Records before the mark."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sink does not take records."""

    since: str
    """Time of the first failure: ISO 8601, UTC."""
    message: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a sink is, and whether it fails."""

    marks: Mapping[str, Mark] = field(default_factory=dict)
    """By the segment's name. A segment without a mark has not been read."""
    shipped: int = 0
    """Records taken so far, including repeated ones."""
    failure: Failure | None = None
    """None while the sink takes records."""

    def moved(self, marks: Mapping[str, Mark], present: set[str], records: int) -> Self:
        """The position after more records, without marks of deleted segments."""
        kept = {name: mark for name, mark in self.marks.items() if name in present}
        return replace(self, marks={**kept, **marks}, shipped=self.shipped + records, failure=None)


def position_file(directory: Path, sink: str) -> Path:
    """The file that holds a sink's position."""
    return directory / "positions" / f"{sink}.json"


def load_position(path: Path) -> Position:
    """The position in a file. If it cannot be read, shipping starts anew, as repeated records do no harm."""
    data = read_json(path)
    with suppress(KeyError, TypeError):
        failure = Failure(**data["failure"]) if data["failure"] else None
        return Position(marks_from_json(data), data["shipped"], failure)
    return Position()


def save_position(path: Path, position: Position) -> None:
    """Store a position durably.

    Raises:
        OSError: it could not be stored; the previous position is kept.
    """
    failure = position.failure and {"since": position.failure.since, "message": position.failure.message}
    write_json(path, {"segments": marks_to_json(position.marks), "shipped": position.shipped, "failure": failure})


def marks_from_json(data: Mapping[str, Any]) -> dict[str, Mark]:
    """Marks from the content of a file.

    Raises:
        KeyError, TypeError: the file has no marks.
    """
    return {name: Mark(**mark) for name, mark in data["segments"].items()}


def marks_to_json(marks: Mapping[str, Mark]) -> dict[str, dict[str, int]]:
    """Marks as the content of a file."""
    return {name: {"offset": mark.offset, "records": mark.records} for name, mark in sorted(marks.items())}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file or it cannot be parsed."""
    try:
        data = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a file atomically and durably: after a power loss it has its old or its new content.

    Raises:
        OSError: the file could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
