"""What is to be done with each part, and what became of it, as it goes between processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_microservice.inference.files.formats import Format

BAD_COLUMNS = ("file", "row", "feature", "rule", "message")


@dataclass(frozen=True)
class ModelPlace:
    """Where every process finds the model."""

    folder: Path
    project: str
    id_name: str | None


@dataclass(frozen=True)
class Work:
    """What is the same for all parts."""

    model: ModelPlace
    folder: str
    """Where the results of parts go."""
    format: Format
    """Of these results."""
    schema: Any
    """The columns that are taken over; None for lines of JSON."""
    has_header: bool


@dataclass(frozen=True)
class Done:
    """What became of a part."""

    stop: int
    """Where it ends, as `Part.stop`."""
    rows: int
    """All of them."""
    bad: int
    """Rows without a prediction, of which some could not even be read and are not in the result."""


def result_name(index: int, format: Format) -> str:
    """The name of a part's result."""
    return f"part-{index:05}.{format}"


def record_name(index: int) -> str:
    """The name of what tells that a part is done."""
    return f"_part-{index:05}.json"


def bad_name(index: int) -> str:
    """The name of the bad rows of a part."""
    return f"_part-{index:05}.bad.csv"
