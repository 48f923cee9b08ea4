"""What the ending of a file's name tells about it, and the columns that a result has."""

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
    """The format that a file's name tells.

    Raises:
        InputFileError: it tells none that is known, or pyarrow is missing.
    """
    known = ENDINGS.get(ending(url))
    if known is None:
        words = f"{ending(url)} is not a known format" if ending(url) else "a name without an ending tells no format"
        raise InputFileError(Fault(words, url, advice=f"use one of {', '.join(ENDINGS)}"))
    return known


def arrow() -> Any:
    """pyarrow, which is an extra of the project.

    Raises:
        InputFileError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise InputFileError(Fault("files need pyarrow", advice=how_to_install("arrow"))) from None
    return pyarrow


def added_fields(served: ServedModel) -> "list[pa.Field]":
    """The columns that a result has beside those of its source."""
    pa = arrow()
    classes = served.schema.classes
    prediction = pa.field("prediction", pa.string() if classes else pa.float64())
    probabilities = [pa.field(name, pa.float64()) for name in probability_columns(classes)]
    return [prediction, *probabilities, pa.field("error", pa.string())]


def is_stream(file: IO[bytes]) -> bool:
    """Whether Arrow data is a stream instead of a file."""
    file.seek(0)
    found = file.read(len(ARROW_FILE)) != ARROW_FILE
    file.seek(0)
    return found
