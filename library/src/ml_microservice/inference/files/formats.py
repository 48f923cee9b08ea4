"""Formats by the ending of a file name, and the columns that are added to a result."""

from typing import IO, TYPE_CHECKING, Any, Literal

from ml_microservice.errors import Fault, InputFileError
from ml_microservice.extras import how_to_install
from ml_microservice.inference.answer_writers import probability_columns
from ml_microservice.inference.files.places import ending
from ml_microservice.inference.served_model import ServedModel

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "jsonl", "parquet", "arrow"]
ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
}
ARROW_FILE = b"ARROW1"


def format_of(url: str) -> Format:
    """The format of a file, by its ending.

    Raises:
        InputFileError: the ending is not known.
    """
    known = ENDINGS.get(ending(url))
    if known is None:
        words = f"{ending(url)} is not a known format" if ending(url) else "a name without an ending tells no format"
        raise InputFileError(Fault(words, url, advice=f"use one of {', '.join(ENDINGS)}"))
    return known


def arrow() -> Any:
    """pyarrow with its module for Parquet; an optional dependency.

    Raises:
        InputFileError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputFileError(Fault("files need pyarrow", advice=how_to_install("arrow"))) from None
    return pyarrow


def added_fields(served: ServedModel) -> "list[pa.Field]":
    """The columns that a result has besides those of its input."""
    pa = arrow()
    classes = served.schema.classes
    prediction = pa.field("prediction", pa.string() if classes else pa.float64())
    probabilities = [pa.field(name, pa.float64()) for name in probability_columns(classes)]
    return [prediction, *probabilities, pa.field("error", pa.string())]


def is_stream(file: IO[bytes]) -> bool:
    """Whether Arrow data has the format of streams, and not that of files."""
    file.seek(0)
    found = file.read(len(ARROW_FILE)) != ARROW_FILE
    file.seek(0)
    return found
