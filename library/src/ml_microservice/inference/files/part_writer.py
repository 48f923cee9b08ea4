"""Writers of the results of parts, which are then joined to one file."""

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ml_microservice.inference.files.formats import Format
from ml_microservice.inference.files.part_reader import RowSlice

GROUP_ROWS = 100_000
"""About how many rows a row group or a record batch has: large ones are quick to read, but take memory."""
Write = Callable[[RowSlice, Any], None]
"""Writes a slice with its answers, a table of the added columns."""


def part_writer(format: Format, file: IO[bytes], schema: Any, *, has_header: bool) -> AbstractContextManager[Write]:
    """The writer of a part's result.

    Args:
        format: to write in.
        file: to write to.
        schema: of the whole result; None if lines of JSON are copied.
        has_header: whether CSV starts with the names of the columns.
    """
    if format == "csv":
        return _csv(file, schema, has_header=has_header)
    return _json_lines(file) if format == "jsonl" else _tables(format, file, schema)


def joined_format(format: Format) -> Format:
    """The format of parts that will be joined: Parquet is compressed only once, by the join."""
    return "arrow" if format == "parquet" else format


def join(format: Format, parts: Iterable[IO[bytes]], file: IO[bytes], schema: Any) -> None:
    """Write the results of all parts as one file."""
    if format in ("parquet", "arrow"):
        with _opened(format, file, schema) as writer:
            for part in parts:
                with part:
                    batches = pa.ipc.open_file(part)
                    for index in range(batches.num_record_batches):
                        writer.write_batch(batches.get_batch(index))
        return
    if format == "csv":
        file.write(_header(schema.names))
    for part in parts:
        with part:
            shutil.copyfileobj(part, file, 2**20)


def csv_line(values: Sequence[Any]) -> bytes:
    """One line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _header(names: Sequence[str]) -> bytes:
    return csv_line(names)


@contextmanager
def _csv(file: IO[bytes], schema: Any, *, has_header: bool) -> Any:
    if has_header:
        file.write(_header(schema.names))

    def write(row_slice: RowSlice, answers: Any) -> None:
        columns = [_as_text(column) for column in (*row_slice.carried.columns, *answers.columns)]
        file.write(_csv_bytes(pa.table(columns, schema.names)))

    yield write


def _csv_bytes(table: Any) -> bytes:
    # Arrow quotes all text or none.
    for style in ("none", "needed"):
        sink = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=style)
        try:
            pyarrow.csv.write_csv(table, sink, options)
        except pa.ArrowInvalid:
            if style == "needed":
                raise
            continue
        return bytes(sink.getvalue())
    return b""


def _as_text(column: Any) -> Any:
    """A column for CSV, which can hold lists and structs only as JSON."""
    kind = column.type
    if not pa.types.is_nested(kind):
        return column
    texts = [None if value is None else orjson.dumps(value, default=str).decode() for value in column.to_pylist()]
    return pa.array(texts, pa.string())


@contextmanager
def _json_lines(file: IO[bytes]) -> Any:
    def write(row_slice: RowSlice, answers: Any) -> None:
        rows = answers.to_pylist()
        if row_slice.carried is None:
            file.writelines(_extended(line, row) for line, row in zip(row_slice.lines, rows, strict=True))
        else:
            pairs = zip(row_slice.carried.to_pylist(), rows, strict=True)
            file.writelines(orjson.dumps(kept | row, default=str) + b"\n" for kept, row in pairs)

    yield write


def _extended(line: bytes, answer: dict[str, Any]) -> bytes:
    """A line of JSON with the keys of its answer added."""
    body = line[:-1].rstrip()
    return body + (b"" if body == b"{" else b",") + orjson.dumps(answer)[1:] + b"\n"


@contextmanager
def _tables(format: Format, file: IO[bytes], schema: Any) -> Any:
    with _opened(format, file, schema) as writer:
        taken: list[Any] = []

        def write(row_slice: RowSlice, answers: Any) -> None:
            taken.append(pa.table([*row_slice.carried.columns, *answers.columns], schema=schema))
            if sum(map(len, taken)) >= GROUP_ROWS:
                flush()

        def flush() -> None:
            if taken:
                writer.write_table(pa.concat_tables(taken).combine_chunks())
            taken.clear()

        yield write
        flush()


def _opened(format: Format, file: IO[bytes], schema: Any) -> Any:
    return pq.ParquetWriter(file, schema) if format == "parquet" else pa.ipc.new_file(file, schema)
