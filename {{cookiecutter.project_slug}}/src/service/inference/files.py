"""Predicting a file: the rows of a CSV, Parquet or JSON lines file, with their predictions added."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

from service.errors import Fault, InputFileError, did_you_mean
from service.features.spec import Feature, FeatureSpec, as_utc
from service.inference.core import Core
from service.inference.file_formats import FileFormat, Record, file_format
from service.inference.served_model import ServedModel

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "NaT"})
"""Text that stands for a missing value in CSV, unless the feature is text or has a category of that name."""
ADDED = ("prediction", "prediction_id", "error")


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
    total = failed = 0
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with writer.write(temporary) as write:
            for records in _pieces(reader.read(source), piece):
                rows = [served.row_or_problem(_body(record, served, reader)) for record in records]
                answers = core.answer_rows(served, rows)
                pairs = zip(records, answers, strict=True)
                write([{**record, **_added(answer, served)} for record, answer in pairs])
                total, failed = total + len(records), failed + sum("error" in answer for answer in answers)
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
    taken = [key for key in (*ADDED, *_probability_names(served)) if key in columns]
    faults += [Fault(f"has a column {key!r} already", name, advice="rename it") for key in taken]
    if faults:
        raise InputFileError(*faults)


def _pieces(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while piece := list(islice(records, size)):
        yield piece


def _probability_names(served: ServedModel) -> list[str]:
    return [f"probability_{name}" for name in served.schema.classes]


def _added(answer: dict[str, Any], served: ServedModel) -> Record:
    probabilities = answer.get("probabilities", {})
    named = zip(_probability_names(served), served.schema.classes, strict=True)
    error = answer.get("error")
    return {
        "prediction": answer.get("prediction"),
        **{column: probabilities.get(name) for column, name in named},
        "prediction_id": answer.get("prediction_id"),
        "error": error["detail"] if error else None,
    }


def _body(record: Record, served: ServedModel, reader: FileFormat) -> bytes:
    """The features of a record as the JSON object that a caller would send, so that the same rules hold."""
    spec: FeatureSpec = served.schema.spec
    values: Record = {}
    for feature in spec.features:
        value = record.get(feature.name)
        value = _from_text(value, feature) if reader.is_text and value is not None else _jsonable(value, feature)
        if value is not None:
            values[feature.name] = value
    if served.id_name is not None and record.get(served.id_name) is not None:
        values[served.id_name] = record[served.id_name]
    return json.dumps(values).encode()


def _jsonable(value: Any, feature: Feature) -> Any:
    if isinstance(value, datetime):
        return as_utc(value).isoformat()
    if isinstance(value, date):
        return as_utc(datetime.combine(value, time())).isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return _whole(value) if feature.type in ("int", "category") else value


def _from_text(text: str, feature: Feature) -> Any:
    """What a CSV field means for a feature; text that means nothing is left for the rules to refuse."""
    if feature.type == "string" or (feature.type == "category" and text in feature.values):
        return text or None
    if text in MISSING_WORDS:
        return None
    try:
        match feature.type:
            case "float":
                return float(text)
            case "int" | "category":
                return _whole(float(text)) if "." in text or "e" in text.lower() else int(text)
            case "bool":
                return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower(), text)
            case "vector":
                return json.loads(text)
            case "datetime":
                return as_utc(datetime.fromisoformat(text)).isoformat()
    except ValueError:
        return text


def _whole(value: Any) -> Any:
    """A number that stands for a whole one as that: Parquet and CSV keep whole numbers with gaps as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
