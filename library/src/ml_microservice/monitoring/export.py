"""Exports predictions with their inputs and their feedback to a file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.atomic_file import written_atomically
from ml_microservice.errors import Fault, InputFileError
from ml_microservice.extras import how_to_install
from ml_microservice.features.spec import as_utc
from ml_microservice.monitoring.export_formats import TEXT_WRITERS, Write, export_format
from ml_microservice.records.database.store import RecordStore
from ml_microservice.records.record import FeedbackRecord, PredictionRecord

ROWS_AT_ONCE = 5_000
"""Rows that are read and written at a time."""
BEFORE = ("prediction_id", "time", "model_version", "entity_id")
AFTER = ("prediction", "label", "observed_at", "received_at", "source")
"""Columns of every file, before and after the features."""
MOMENTS = frozenset({"time", "observed_at", "received_at"})
FLOATING = frozenset({"float", "vector"})


@dataclass(frozen=True)
class Selection:
    """The predictions from `since` (inclusive) to `until` (exclusive), of all model versions or one."""

    since: datetime
    until: datetime
    model_version: str | None = None


@dataclass(frozen=True)
class Exported:
    """The outcome of an export."""

    rows: int
    notes: tuple[str, ...] = ()
    """Remarks for the user."""


def export_records(store: RecordStore, selection: Selection, schema: ModelSchema, target: Path) -> Exported:
    """Write every selected prediction with its inputs, its latest feedback, and the times of both.

    The features are those of `schema`. A feature with the name of another column is written as `inputs.<name>`.

    Raises:
        InputFileError: the file's extension is not known, or a value does not have its feature's type.
    """
    kind = export_format(target)
    taken = {*BEFORE, *AFTER}
    inputs = {name: f"inputs.{name}" if name in taken else name for name in schema.spec.names}
    answered = store.answered(selection.since, selection.until, selection.model_version)
    rows = 0
    with written_atomically(target) as path:
        opened = _write_parquet(path, schema, inputs) if kind == "parquet" else TEXT_WRITERS[kind](path)
        with opened as write:
            while rows_read := [_row(record, told, inputs) for record, told in islice(answered, ROWS_AT_ONCE)]:
                write(rows_read)
                rows += len(rows_read)
    return Exported(rows)


def _row(record: PredictionRecord, told: FeedbackRecord | None, inputs: Mapping[str, str]) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in BEFORE}
    row |= {column: record.inputs.get(name) for name, column in inputs.items()}
    row["prediction"] = record.prediction
    return row | {name: getattr(told, name, None) for name in AFTER[1:]}


@contextmanager
def _write_parquet(path: Path, schema: ModelSchema, inputs: Mapping[str, str]) -> Iterator[Write]:
    """Write Parquet with the types of the features, which cannot always be inferred from the first rows."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputFileError(Fault("Parquet needs pyarrow", advice=how_to_install("arrow"))) from None
    from ml_microservice.features.arrow_columns import natural_type

    text, moment, answer = pa.string(), pa.timestamp("ms", "UTC"), pa.string() if schema.classes else pa.float64()
    types = {name: moment if name in MOMENTS else text for name in BEFORE}
    types |= {inputs[feature.name]: text if feature.pii else natural_type(feature) for feature in schema.spec.features}
    types |= {name: moment if name in MOMENTS else text for name in AFTER} | {"prediction": answer, "label": answer}
    dated = [name for name, kind in types.items() if pa.types.is_timestamp(kind)]
    floating = [
        inputs[feature.name] for feature in schema.spec.features if feature.type in FLOATING and not feature.pii
    ]
    columns = pa.schema(list(types.items()))

    def write(rows: Sequence[dict[str, Any]]) -> None:
        try:
            parsed = [
                {
                    **row,
                    **{name: _moment(row[name]) for name in dated},
                    **{name: _floats(row[name]) for name in floating},
                }
                for row in rows
            ]
            file.write_table(pa.Table.from_pylist(parsed, schema=columns))
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, TypeError) as error:
            advice = "choose the predictions of one model with --model-version, or write .csv or .jsonl"
            fault = Fault(f"a value is not of its feature's type: {error}", path.name, advice=advice)
            raise InputFileError(fault) from None

    with pq.ParquetWriter(path, columns) as file:
        yield write


def _floats(value: Any) -> Any:
    """A number or a vector as floats: PostgreSQL returns 1e16 as an integer, which is too large for Arrow."""
    if isinstance(value, list):
        return [float(element) for element in value]
    return None if value is None else float(value)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else as_utc(datetime.fromisoformat(text))
