"""Reading and writing rows as CSV, Parquet and JSON lines, a piece at a time."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from service.errors import Fault, InputFileError

Record = dict[str, Any]
Write = Callable[[Sequence[Record]], None]


@dataclass(frozen=True)
class FileFormat:
    """One kind of file."""

    columns: Callable[[Path], list[str] | None]
    """The names of the columns; None where every row has its own keys."""
    read: Callable[[Path, int], Iterator[Any]]
    """The rows, a number of them at a time: lists of records, or Arrow tables."""
    write: Callable[[Path], AbstractContextManager[Write]]
    """Opens a file; rows are written through what it yields, all with the keys of the first."""
    is_text: bool = False
    """Whether values are read as text, whatever they mean."""


def file_format(path: Path) -> FileFormat:
    """The format that a file's name tells.

    Raises:
        InputFileError: it tells none that is known.
    """
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        advice = f"use one of {', '.join(FORMATS)}"
        raise InputFileError(Fault(f"{path.suffix or 'no ending'} is not a known format", str(path), advice=advice))
    return known


def _csv_columns(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file), [])


def _read_csv(path: Path) -> Iterator[Record]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for row in reader:
            if None in row or None in row.values():
                advice = "quote text that has commas in it"
                raise InputFileError(
                    Fault("another number of fields than the header", str(path), reader.line_num, advice)
                )
            yield row


@contextmanager
def _write_csv(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None

        def write(rows: Sequence[Record]) -> None:
            nonlocal writer
            if writer is None and rows:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
            if writer is not None:
                writer.writerows(rows)

        yield write


def _read_json_lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputFileError(Fault(f"not JSON: {error}", str(path), number)) from None
            if not isinstance(row, dict):
                raise InputFileError(Fault("not a JSON object", str(path), number, "one object on each line"))
            yield row


@contextmanager
def _write_json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputFileError(Fault("Parquet needs pyarrow", advice="install the project's extra 'arrow'")) from None
    return pyarrow


def _parquet_columns(path: Path) -> list[str]:
    names: list[str] = _parquet().parquet.read_schema(path).names
    return names


def _read_parquet(path: Path, size: int) -> Iterator[Any]:
    arrow = _parquet()
    for batch in arrow.parquet.ParquetFile(path).iter_batches(size):
        yield arrow.Table.from_batches([batch])


@contextmanager
def _write_parquet(path: Path) -> Iterator[Write]:
    arrow = _parquet()
    written: list[Any] = []

    def write(rows: Sequence[Record]) -> None:
        # The first piece fixes the types; a column that is empty in it is text.
        if not written:
            table = arrow.Table.from_pylist(list(rows))
            fields = [
                arrow.field(f.name, arrow.string() if arrow.types.is_null(f.type) else f.type) for f in table.schema
            ]
            written.append(arrow.parquet.ParquetWriter(path, arrow.schema(fields)))
        written[0].write_table(arrow.Table.from_pylist(list(rows), schema=written[0].schema))

    try:
        yield write
    finally:
        for writer in written:
            writer.close()


def _no_columns(path: Path) -> None:
    return None


def _pieces(read: Callable[[Path], Iterator[Record]], path: Path, size: int) -> Iterator[list[Record]]:
    records = read(path)
    while piece := list(islice(records, size)):
        yield piece


CSV = FileFormat(_csv_columns, partial(_pieces, _read_csv), _write_csv, is_text=True)
PARQUET = FileFormat(_parquet_columns, _read_parquet, _write_parquet)
JSON_LINES = FileFormat(_no_columns, partial(_pieces, _read_json_lines), _write_json_lines)
FORMATS: Mapping[str, FileFormat] = {".csv": CSV, ".parquet": PARQUET, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
