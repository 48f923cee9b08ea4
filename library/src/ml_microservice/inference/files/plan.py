"""The plan of a run over files and the result of a part, as they go between processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_microservice.inference.files.formats import Format

BAD_COLUMNS = ("file", "row", "feature", "rule", "message")


@dataclass(frozen=True)
class ModelPlace:
    """The folder in which every process finds the model."""

    folder: Path
    project: str
    id_name: str | None


@dataclass(frozen=True)
class RunPlan:
    """What all parts of a run share."""

    model: ModelPlace
    folder: str
    """The folder for the results of parts."""
    format: Format
    """The format of these results."""
    schema: Any
    """The columns that are copied from the input; None if lines of JSON are copied."""
    has_header: bool


@dataclass(frozen=True)
class PartResult:
    """The result of a part."""

    stop: int
    """The end of the part; see `Part.stop`."""
    rows: int
    """All rows of the part."""
    bad: int
    """Rows without a prediction; those that could not be read are not in the result."""


def result_name(index: int, format: Format) -> str:
    """The file name of a part's result."""
    return f"part-{index:05}.{format}"


def record_name(index: int) -> str:
    """The name of the file that marks a part as finished."""
    return f"_part-{index:05}.json"


def bad_name(index: int) -> str:
    """The file name of a part's bad rows."""
    return f"_part-{index:05}.bad.csv"
