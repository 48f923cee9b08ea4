"""Splits a body into chunks. Each chunk is a complete body, which a worker reads by itself.

A body that `/predict/batch` would refuse is refused here by the same problem, before its job exists.

pyarrow is imported for tables only, because most services never receive one and it takes long to load.
"""

import csv
import mmap
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import IO, Any, NamedTuple

from pydantic_core import from_json, to_json

from ml_microservice.inference.bulk_formats import (
    MAX_TEXT_BYTES,
    check_names,
    check_table,
    columns_of,
    reading_table,
    unreadable,
)
from ml_microservice.inference.rows import RowReader
from ml_microservice.inference.served_model import ServedModel

CHUNK_BYTES = 8 * 2**20
"""A chunk of this size is full, however few its rows: a worker reads it into memory as a whole."""
LONGEST_LINE = 16 * 2**20
READ_BYTES = 2**20
"""Bytes of a Parquet column that are read at a time."""
FIELD_LIMIT = csv.field_size_limit()
"""Longest CSV field that Python's reader accepts, in characters."""


class BodyChunk(NamedTuple):
    """A chunk of a body."""

    rows: int
    body: bytes


def split_body(media_type: str, file: IO[bytes], chunk_rows: int) -> Iterator[BodyChunk]:
    """Split a body of any format but JSON into chunks of the format that `chunk_format.body_format` names.

    Args:
        media_type: the format of the body.
        file: the body. Parquet and Arrow are not read in order, so it must be seekable.
        chunk_rows: most rows of a chunk.

    Raises:
        Problem: the body cannot be read.
    """
    match media_type:
        case "application/x-ndjson":
            return _filled(_json_lines(file), b"", chunk_rows)
        case "text/csv":
            return _csv(file, chunk_rows)
        case _:
            return _tables(media_type, file, chunk_rows)


def split_json(body: bytes, served: ServedModel, chunk_rows: int) -> list[BodyChunk]:
    """Split a JSON list into chunks. A JSON object is validated and becomes one chunk.

    Raises:
        Problem: the body is neither, or the object breaks a rule of `features.yaml`.
    """
    if body.lstrip()[:1] != b"[":
        served.row(body)
        return [BodyChunk(1, body)]
    try:
        items: list[Any] = from_json(body)
    except ValueError:
        items = RowReader(served).items(body)
    if len(items) <= chunk_rows and len(body) <= CHUNK_BYTES:
        return [BodyChunk(len(items), body)] if items else []
    texts = (to_json(item, inf_nan_mode="constants") for item in items)
    lists = _filled((text + b"," for text in texts), b"", chunk_rows)
    return [BodyChunk(chunk.rows, b"[" + chunk.body[:-1] + b"]") for chunk in lists]


def _filled(rows: Iterable[bytes], heading: bytes, chunk_rows: int) -> Iterator[BodyChunk]:
    """Join rows of text to chunks, each with the heading."""
    taken: list[bytes] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += len(row)
        if len(taken) == chunk_rows or size >= CHUNK_BYTES:
            yield BodyChunk(len(taken), heading + b"".join(taken))
            taken, size = [], 0
    if taken:
        yield BodyChunk(len(taken), heading + b"".join(taken))


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Read lines with their ends: `\\n`, `\\r` or `\\r\\n`, as Python's readers do."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise unreadable(name, f"a line has more than {LONGEST_LINE} bytes")
        yield from line.splitlines(keepends=True) if b"\r" in line else (line,)


def _json_lines(file: IO[bytes]) -> Iterator[bytes]:
    for line in _lines(file, "JSON lines"):
        if text := line.strip():
            yield text + b"\n"


def _csv(file: IO[bytes], chunk_rows: int) -> Iterator[BodyChunk]:
    records = _records(file)
    heading, names = next(records, (b"", []))
    check_names(names)
    return _filled(_rows(records, len(names)), heading, chunk_rows)


def _rows(records: Iterator[tuple[bytes, list[str]]], fields: int) -> Iterator[bytes]:
    for number, (text, record) in enumerate(records, 1):
        if len(record) != fields:
            raise unreadable("CSV", f"row {number} has another number of fields than the header")
        yield text


def _records(file: IO[bytes]) -> Iterator[tuple[bytes, list[str]]]:
    """Read records, as text and as fields. The first record is the header; later empty ones are skipped."""
    lines = _lines(file, "CSV")
    taken: list[bytes] = []

    def texts(first: bytes) -> Iterator[str]:
        for line in chain([first], lines):
            taken.append(line)
            yield line.decode()

    is_first = True
    try:
        for line in lines:
            line = line.removeprefix(b"\xef\xbb\xbf") if is_first else line
            taken.clear()
            if b'"' in line or len(line) > FIELD_LIMIT:
                record = next(csv.reader(texts(line), strict=True))
            else:  # without quotes, no field contains a line end
                taken.append(line)
                record = line.decode().rstrip("\r\n").split(",")
                record = [] if record == [""] else record
            if record or is_first:
                text = b"".join(taken)
                yield text if text.endswith((b"\n", b"\r")) else text + b"\n", record
            is_first = False
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable("CSV", str(error)) from None


def _tables(media_type: str, file: IO[bytes], chunk_rows: int) -> Iterator[BodyChunk]:
    """Split a table into Arrow streams, with columns of plain types."""
    import pyarrow as pa

    from ml_microservice.features.arrow_values import plain

    name, opened = OPENERS[media_type]
    with reading_table(name):
        names, batches = opened(pa, file, chunk_rows)
        check_names(names)
        kept = columns_of(names)
        for taken in _gathered(batches, chunk_rows):
            table = pa.Table.from_batches(taken)
            check_table(table)
            values = pa.table({name: plain(table.column(name)) for name in kept}) if kept else table.select([])
            yield from _written(pa, values, table.num_rows)


def _gathered(batches: Iterable[Any], chunk_rows: int) -> Iterator[list[Any]]:
    """Group record batches, sliced where needed, so that each group has the rows of a chunk."""
    taken: list[Any] = []
    rows = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            sliced = batch.slice(start, chunk_rows - rows)
            taken.append(sliced)
            start += sliced.num_rows
            rows += sliced.num_rows
            if rows == chunk_rows:
                yield taken
                taken, rows = [], 0
    if taken:
        yield taken


def _written(arrow: Any, table: Any, rows: int) -> Iterator[BodyChunk]:
    if table.nbytes > CHUNK_BYTES and rows > 1:
        yield from _written(arrow, table.slice(0, rows // 2), rows // 2)
        yield from _written(arrow, table.slice(rows // 2), rows - rows // 2)
        return
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    yield BodyChunk(rows, sink.getvalue().to_pybytes())


def _open_parquet(arrow: Any, file: IO[bytes], chunk_rows: int) -> tuple[list[str], Iterable[Any]]:
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES)
    schema = opened.schema_arrow
    texts = [field.name for field in schema if arrow.types.is_string(field.type)]
    with_dictionaries = pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False, buffer_size=READ_BYTES)
    if texts and _longest_text(arrow, with_dictionaries) * chunk_rows > MAX_TEXT_BYTES:
        # Dictionaries keep a small file with repeated long texts from filling the memory. Else, plain texts need less.
        opened = with_dictionaries
    return schema.names, opened.iter_batches(chunk_rows)


def _longest_text(arrow: Any, file: Any) -> int:
    """Bytes of the longest text in any dictionary of a Parquet file. A row group's first row brings its dictionary."""
    import pyarrow.compute as pc

    lengths = [
        pc.max(pc.binary_length(column.dictionary)).as_py() or 0
        for group in range(file.num_row_groups)
        for batch in islice(file.iter_batches(1, row_groups=[group]), 1)
        for column in batch.columns
        if arrow.types.is_dictionary(column.type) and arrow.types.is_string(column.type.value_type)
    ]
    return max(lengths, default=0)


def _open_stream(arrow: Any, file: IO[bytes], chunk_rows: int) -> tuple[list[str], Iterable[Any]]:
    stream = arrow.ipc.open_stream(_mapped(arrow, file))
    return stream.schema.names, stream


def _open_file(arrow: Any, file: IO[bytes], chunk_rows: int) -> tuple[list[str], Iterable[Any]]:
    opened = arrow.ipc.open_file(_mapped(arrow, file))
    return opened.schema.names, (opened.get_batch(index) for index in range(opened.num_record_batches))


def _mapped(arrow: Any, file: IO[bytes]) -> Any:
    """Map a file on disk into memory, because one record batch may be as large as the file."""
    try:
        return arrow.BufferReader(arrow.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError):
        return arrow.PythonFile(file, mode="r")


OPENERS = {
    "application/vnd.apache.parquet": ("Parquet", _open_parquet),
    "application/vnd.apache.arrow.stream": ("an Arrow stream", _open_stream),
    "application/vnd.apache.arrow.file": ("an Arrow file", _open_file),
}
