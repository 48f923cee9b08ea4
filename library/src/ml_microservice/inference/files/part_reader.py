"""Reader of a part of a file: its rows, one slice at a time, as columns that can be validated at once."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml_microservice.errors import Fault, InputFileError
from ml_microservice.features.arrow_columns import natural_type
from ml_microservice.features.request import JsonObject
from ml_microservice.features.spec import Feature
from ml_microservice.features.text_columns import from_texts
from ml_microservice.features.text_values import from_text, whole
from ml_microservice.inference.files.parts import Part
from ml_microservice.inference.files.places import place
from ml_microservice.inference.rows import RowReader

SLICE_ROWS = 10_000
"""Most rows of a slice."""
JSON_TYPES: dict[str, set[type]] = {
    "float": {int, float},
    "int": {int},
    "bool": {bool},
    "category": {str, int},
    "string": {str},
    "datetime": {str},
    "vector": {list},
}
"""Types of the values, besides None, that a column may have to be converted as a whole."""


@dataclass(frozen=True)
class RowSlice:
    """Rows of a part that one call of the model predicts."""

    numbers: NDArray[np.int64]
    """Positions of the rows in the part, from 0, without those that cannot be read."""
    values: Any
    """Table of the features and the entity id; null where the value of a row is odd."""
    odd: NDArray[np.bool_]
    """Rows with a value in a rare notation, which are validated one by one."""
    record: Callable[[int], JsonObject]
    """Returns an odd row as a caller would send it."""
    carried: Any
    """Table of the columns that the result copies; None if it copies lines."""
    lines: Sequence[bytes] = ()
    """Lines of JSON that the result copies."""
    unreadable: Sequence[tuple[int, str]] = field(default=())
    """Positions of the rows that cannot be read, each with the reason."""


def read_slices(part: Part, reader: RowReader, schema: Any) -> Iterator[RowSlice]:
    """Read the rows of a part.

    Args:
        part: to read.
        reader: of the model; has the features.
        schema: the columns that the result copies; None if it copies whole lines of JSON.

    Raises:
        InputFileError: the file is damaged.
    """
    read = {"csv": _csv, "jsonl": _json_lines}.get(part.source.format, _tables)
    try:
        yield from read(part, reader, schema)
    except (pa.ArrowException, OSError) as error:
        words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputFileError(Fault(f"cannot be read as {part.source.format}: {words}", part.source.url)) from None


def _bytes(part: Part) -> bytes:
    with place(part.source.url).open() as file:
        file.seek(part.start)
        return file.read(part.stop - part.start)


def _tables(part: Part, reader: RowReader, schema: Any) -> Iterator[RowSlice]:
    first = 0
    with place(part.source.url).open() as file:
        for batch in _batches(part, file):
            for start in range(0, batch.num_rows, SLICE_ROWS):
                table = pa.Table.from_batches([batch.slice(start, SLICE_ROWS)]).select(schema.names)
                rows = table.num_rows
                yield RowSlice(
                    np.arange(first, first + rows),
                    table,
                    np.zeros(rows, dtype=bool),
                    lambda row: {},
                    table.cast(schema),
                )
                first += rows


def _batches(part: Part, file: Any) -> Iterator[Any]:
    groups = range(part.start, part.stop)
    if part.source.format == "parquet":
        yield from pq.ParquetFile(file, pre_buffer=False).iter_batches(SLICE_ROWS, row_groups=groups)
    elif part.source.is_stream:
        yield from pa.ipc.open_stream(file)
    else:
        batches = pa.ipc.open_file(file)
        yield from (batches.get_batch(index) for index in groups)


def _csv(part: Part, reader: RowReader, schema: Any) -> Iterator[RowSlice]:
    data, names = _bytes(part), part.source.names or ()
    if not data.strip():
        return
    unreadable: list[tuple[int, str]] = []

    def skip(row: Any) -> str:
        unreadable.append((row.number - 1, f"has {row.actual_columns} fields, the header {row.expected_columns}"))
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    ).combine_chunks()
    total = table.num_rows + len(unreadable)
    numbers = np.delete(np.arange(total), [number for number, _ in unreadable])
    for start in range(0, max(table.num_rows, 1), SLICE_ROWS):
        texts = table.slice(start, SLICE_ROWS)
        yield _of_texts(texts, numbers[start : start + SLICE_ROWS], reader, schema, () if start else unreadable)


def _of_texts(
    texts: Any, numbers: NDArray[np.int64], reader: RowReader, schema: Any, unreadable: Sequence[tuple[int, str]]
) -> RowSlice:
    columns, odd = {}, np.zeros(texts.num_rows, dtype=bool)
    arrays = {name: _array(texts.column(name)) for name in texts.column_names}
    for name, feature in reader.features.items():
        if name in arrays:
            columns[name], strange = from_texts(feature, arrays[name])
            odd |= strange
    id_name = reader.served.id_name
    ids = {} if id_name is None or id_name not in arrays else {id_name: arrays[id_name]}

    def record(row: int) -> JsonObject:
        values = {name: _meant(arrays[name][row].as_py(), reader.features[name]) for name in columns}
        return values | {name: texts[row].as_py() for name, texts in ids.items()}

    carried = {n: arrays[n] if pa.types.is_string(schema.field(n).type) else columns[n] for n in schema.names}
    return RowSlice(numbers, pa.table({**columns, **ids}), odd, record, pa.table(carried, schema), (), unreadable)


def _meant(text: str, feature: Feature) -> Any:
    value = from_text(text, feature)
    return whole(value) if feature.type in ("int", "category") else value


def _array(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _json_lines(part: Part, reader: RowReader, schema: Any) -> Iterator[RowSlice]:
    lines = [line for raw in _bytes(part).split(b"\n") if (line := raw.strip())]
    added = {"prediction", "error"}
    for start in range(0, len(lines), SLICE_ROWS):
        rows: list[JsonObject] = []
        numbers, kept, unreadable = [], [], []
        for number, line in enumerate(lines[start : start + SLICE_ROWS], start):
            row = _loaded(line)
            if not isinstance(row, dict):
                unreadable.append((number, "is not JSON" if row is None else "is not a JSON object"))
            elif not added.isdisjoint(row):
                unreadable.append((number, f"has a key {(added & row.keys()).pop()!r} already"))
            else:
                rows.append(row)
                numbers.append(number)
                kept.append(line)
        yield _of_records(rows, np.asarray(numbers, dtype=np.int64), kept, unreadable, reader, schema, part)


def _loaded(line: bytes) -> Any:
    """The value of a line; None if it is not JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            return json.loads(line)  # which knows NaN, as Python's own writer writes it
        except ValueError:
            return None


def _of_records(
    rows: list[JsonObject],
    numbers: NDArray[np.int64],
    lines: list[bytes],
    unreadable: Sequence[tuple[int, str]],
    reader: RowReader,
    schema: Any,
    part: Part,
) -> RowSlice:
    odd = np.zeros(len(rows), dtype=bool)
    columns = {}
    for name, feature in reader.features.items():
        columns[name], strange = _column([row.get(name) for row in rows], feature)
        odd |= strange
    id_name = reader.served.id_name
    if id_name is not None:
        ids = [row.get(id_name) for row in rows]
        strange_ids = np.asarray([not isinstance(value, str | None) for value in ids], dtype=bool)
        odd |= strange_ids
        columns[id_name] = pa.array([None if type(v) is not str else v for v in ids], pa.string())

    def record(row: int) -> JsonObject:
        given = {name: rows[row].get(name) for name in columns}
        for name, feature in reader.features.items():
            if given[name] != given[name]:
                given[name] = None
            elif feature.type in ("int", "category"):
                given[name] = whole(given[name])
        return given

    values = pa.table(columns)
    if schema is None:
        return RowSlice(numbers, values, odd, record, None, lines, unreadable)
    return RowSlice(numbers, values, odd, record, _carried(rows, values, schema, reader, part), (), unreadable)


def _column(values: list[Any], feature: Feature) -> tuple[Any, NDArray[np.bool_]]:
    kind = pa.string() if feature.type == "datetime" else natural_type(feature)
    plain = JSON_TYPES[feature.type] | {type(None)}
    if feature.type == "category":
        plain = {type(feature.values[0]), type(None)}
    odd = np.zeros(len(values), dtype=bool)
    if not {*map(type, values)} <= plain:
        odd = np.asarray([type(value) not in plain for value in values], dtype=bool)
        values = [value if type(value) in plain else None for value in values]
    if feature.type == "vector":
        flat = np.asarray([v is not None and not {*map(type, v)} <= {int, float} for v in values], dtype=bool)
        odd |= flat
        values = [None if strange else value for strange, value in zip(flat, values, strict=True)]
    try:
        return pa.array(values, kind), odd
    except (pa.ArrowException, OverflowError):
        return pa.nulls(len(values), kind), np.ones(len(values), dtype=bool)


def _carried(rows: list[JsonObject], values: Any, schema: Any, reader: RowReader, part: Part) -> Any:
    unknown = {name for row in rows for name in row} - set(schema.names)
    arrays = []
    for column in schema:
        try:
            if column.name in reader.features and column.name in values.column_names:
                arrays.append(values.column(column.name).cast(column.type))
            else:
                arrays.append(pa.chunked_array([pa.array([row.get(column.name) for row in rows], column.type)]))
        except (pa.ArrowException, OverflowError):
            unknown.add(column.name)
    if unknown:
        message = f"{sorted(unknown)[0]!r} is not in the first rows, or is of another type there"
        raise InputFileError(Fault(message, part.source.url, advice="write the result as .jsonl"))
    return pa.table(arrays, schema=schema)
