"""Predicting a file: the rows of a CSV, Parquet or JSON lines file, with their predictions added."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import Fault, InputFileError, did_you_mean
from service.features.text_values import from_text, whole
from service.inference.answers import NONE, answer_columns
from service.inference.core import Core
from service.inference.file_formats import FileFormat, Record, file_format
from service.inference.rows import RowReader, Rows
from service.inference.served_model import ServedModel


@dataclass(frozen=True)
class FileResult:
    """What became of a file."""

    target: Path
    rows: int
    failed: int
    """Rows that have an `error` instead of a prediction."""


def predict_file(
    core: Core, source: Path, target: Path, *, piece: int = 5_000, on_rows: Callable[[int], None] = lambda rows: None
) -> FileResult:
    """Predict every row of a file; the target appears once it is complete.

    A row keeps its own columns and gets `prediction`, `probability_<class>` for each class, `prediction_id`, and
    `error` where it broke a rule. Columns that are no features are passed through.

    Args:
        core: answers the rows, with the model that it serves at the start.
        source: the file; its ending tells the format.
        target: where to write, in the format that its own ending tells.
        piece: rows that are predicted together.
        on_rows: told of every number of rows that are done.

    Raises:
        InputFileError: the file is missing, of no known format, lacks a feature, or is damaged.
    """
    served = core.served
    reader, writer = file_format(source), file_format(target)
    if not source.is_file():
        raise InputFileError(Fault("there is no such file", str(source)))
    if source.resolve() == target.resolve():
        raise InputFileError(Fault("would be overwritten", str(source), advice="name another file to write"))
    _check_columns(reader.columns(source), served, str(source))
    rows_of = RowReader(served)
    total = failed = 0
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with writer.write(temporary) as write:
            for piece_read in reader.read(source, piece):
                rows = _rows(piece_read, rows_of, reader)
                answers = core.answer_rows(served, rows)
                columns = answer_columns(answers, served.schema.classes)
                added = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
                records = piece_read if isinstance(piece_read, list) else piece_read.to_pylist()
                write([{**record, **answer} for record, answer in zip(records, added, strict=True)])
                total, failed = total + len(records), failed + answers.failed
                on_rows(len(records))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return FileResult(target, total, failed)


def _check_columns(columns: list[str] | None, served: ServedModel, name: str) -> None:
    if columns is None:
        return
    spec = served.schema.spec
    missing = [feature.name for feature in spec.features if feature.required and feature.name not in columns]
    faults = [Fault(f"has no column {key!r}", name, advice=did_you_mean(key, columns)) for key in missing]
    added = answer_columns(NONE, served.schema.classes)
    taken = [key for key in added if key in columns]
    faults += [Fault(f"has a column {key!r} already", name, advice="rename it") for key in taken]
    if faults:
        raise InputFileError(*faults)


def _rows(piece: Any, reader: RowReader, source: FileFormat) -> Rows:
    """The rows of a piece of a file, validated by the rules of requests."""
    if not isinstance(piece, list):
        return reader.table(piece, ignore_unknown=True)
    return reader.records([_values(record, reader, source) for record in piece])


def _values(record: Record, reader: RowReader, source: FileFormat) -> Record:
    """The features and the entity id of a record, as a caller would send them."""
    values: Record = {}
    for name, feature in reader.features.items():
        value = record.get(name)
        if source.is_text and value is not None:
            value = from_text(value, feature)
        elif value != value:
            value = None
        values[name] = whole(value) if feature.type in ("int", "category") else value
    id_name = reader.served.id_name
    return values if id_name is None else {**values, id_name: record.get(id_name)}
