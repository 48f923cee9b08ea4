"""The formats of bulk requests and answers, by media type."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from math import isnan
from typing import Any

from ml_microservice.features.spec import Feature
from ml_microservice.features.text_values import from_text
from ml_microservice.inference.answer_writers import CsvWriter, Heading, JsonLinesWriter, JsonWriter, Writer
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import RowReader, Rows

PANDAS_INDEX = "__index_level_"
"""Prefix of the columns in which pandas keeps an index that has no name."""
MAX_TEXT_BYTES = 2**28
"""Most text that a dictionary-encoded column may have once it is decoded."""
Opener = Callable[[Any], Any]


@dataclass(frozen=True)
class BulkFormat:
    """A format of rows and answers."""

    media_type: str
    read: Callable[[RowReader, bytes], Rows]
    """Validates a body; a body that is not of the format is a Problem."""
    writer: Callable[[Heading], Writer]
    needs_arrow: bool = False
    """Whether the format needs pyarrow, an optional dependency."""

    @property
    def is_available(self) -> bool:
        """Whether this service can read and write the format."""
        return not self.needs_arrow or has_arrow()


@cache
def has_arrow() -> bool:
    """Whether pyarrow is installed; looked up on the disk once, since every request asks."""
    return find_spec("pyarrow") is not None


def read_csv(reader: RowReader, body: bytes) -> Rows:
    """Rows of a CSV file with a header; what the text of a field means depends on its feature."""
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        names = next(lines, [])
        check_names(names)
        records = list(lines)
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable("CSV", str(error)) from None
    records = [record for record in records if record]
    if any(len(record) != len(names) for record in records):
        number = next(index for index, record in enumerate(records, 1) if len(record) != len(names))
        raise unreadable("CSV", f"row {number} has another number of fields than the header")
    columns = zip(*records, strict=True) if records else [[] for _ in names]
    values = [_values(column, reader.features.get(name)) for name, column in zip(names, columns, strict=True)]
    return reader.records([dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])


def _values(texts: Sequence[str], feature: Feature | None) -> Sequence[Any]:
    if feature is None:
        return [text or None for text in texts]
    if feature.type == "float":
        with suppress(ValueError):
            numbers = list(map(float, texts))
            if not any(map(isnan, numbers)):  # or else NaN means what from_text says
                return numbers
    return [from_text(text, feature) for text in texts]


def _read_table(open_table: Callable[[Any, RowReader], Any], name: str, reader: RowReader, body: bytes) -> Rows:
    import pyarrow as pa

    with reading_table(name):
        table = open_table(pa, reader)(pa.BufferReader(body))
        check_table(table)
    check_names(table.column_names)
    return reader.table(table.select(columns_of(table.column_names)))


@contextmanager
def reading_table(name: str) -> Iterator[None]:
    """Read a table within the block.

    Args:
        name: of its format, for people.

    Raises:
        Problem: it is damaged, or of another format.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(name, str(error).splitlines()[0][:200] if str(error) else "damaged") from None


def check_table(table: Any) -> None:
    """Check that an Arrow table is safe to work on.

    Raises:
        ValueError: it is damaged.
        Problem: it would fill the memory.
    """
    import pyarrow as pa
    import pyarrow.compute

    # With wrong offsets or text, reads would go beyond the buffers.
    table.validate(full=True)
    _check_size(pa, table)


def columns_of(names: Sequence[str]) -> list[str]:
    """The columns of a table, without those that are an index of pandas."""
    return [name for name in names if not name.startswith(PANDAS_INDEX)]


def _open_stream(arrow: Any, reader: RowReader) -> Opener:
    return lambda source: _limited(arrow, reader, arrow.ipc.open_stream(source))


def _open_file(arrow: Any, reader: RowReader) -> Opener:
    def opened(source: Any) -> Any:
        file = arrow.ipc.open_file(source)
        return _limited(arrow, reader, (file.get_batch(index) for index in range(file.num_record_batches)), file.schema)

    return opened


def _limited(arrow: Any, reader: RowReader, batches: Any, schema: Any = None) -> Any:
    """A table of batches, of which no more are read than the limit on rows allows."""
    taken, rows = [], 0
    for batch in batches:
        taken.append(batch)
        rows += batch.num_rows
        reader.check_count(rows)
    return arrow.Table.from_batches(taken, schema or batches.schema)


def _open_parquet(arrow: Any, reader: RowReader) -> Opener:
    def opened(source: Any) -> Any:
        import pyarrow.parquet as pq

        with pq.ParquetFile(source) as file:
            reader.check_count(file.metadata.num_rows)
            texts = [field.name for field in file.schema_arrow if arrow.types.is_string(field.type)]
        # A dictionary of text stays encoded: decoded, a small file could fill the memory.
        with pq.ParquetFile(source, read_dictionary=texts) as file:
            return file.read()

    return opened


def _check_size(arrow: Any, table: Any) -> None:
    """Refuse a dictionary of long text that would fill the memory once it is decoded."""
    for column in table.columns:
        for chunk in column.chunks if arrow.types.is_dictionary(column.type) else ():
            if arrow.types.is_string(chunk.dictionary.type) or arrow.types.is_large_string(chunk.dictionary.type):
                longest = arrow.compute.max(arrow.compute.binary_length(chunk.dictionary)).as_py() or 0
                if longest * len(chunk) > MAX_TEXT_BYTES:
                    detail = f"A column of text has more than {MAX_TEXT_BYTES} bytes: split it."
                    raise Problem(413, "body-too-large", "The body is too large", detail)


def check_names(names: Sequence[str]) -> None:
    """Check that no column appears twice.

    Raises:
        Problem: one does.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Problem(422, "invalid-batch", "The request is not a table", f"The column {repeated[0]!r} is there twice.")


def unreadable(name: str, why: str) -> Problem:
    """A body that is not of its format.

    Args:
        name: of the format, for people.
        why: what is wrong with it.
    """
    return Problem(422, "invalid-batch", f"The body is not valid {name}", f"The body cannot be read as {name}: {why}.")


def _arrow_writer(name: str, heading: Heading) -> Writer:
    from ml_microservice.inference import arrow_writers

    writer: Writer = getattr(arrow_writers, name)(heading)
    return writer


JSON = BulkFormat("application/json", RowReader.json_list, JsonWriter)
FORMATS = (
    JSON,
    BulkFormat("application/x-ndjson", RowReader.json_lines, JsonLinesWriter),
    BulkFormat("text/csv", read_csv, CsvWriter),
    BulkFormat(
        "application/vnd.apache.parquet",
        partial(_read_table, _open_parquet, "Parquet"),
        partial(_arrow_writer, "parquet_writer"),
        needs_arrow=True,
    ),
    BulkFormat(
        "application/vnd.apache.arrow.stream",
        partial(_read_table, _open_stream, "an Arrow stream"),
        partial(_arrow_writer, "stream_writer"),
        needs_arrow=True,
    ),
    BulkFormat(
        "application/vnd.apache.arrow.file",
        partial(_read_table, _open_file, "an Arrow file"),
        partial(_arrow_writer, "file_writer"),
        needs_arrow=True,
    ),
)
"""All formats, the most usual first."""
