"""Exports predictions that have feedback as a training frame."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.atomic_file import written_atomically
from ml_microservice.errors import DatabaseError, Fault
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import Feature
from ml_microservice.monitoring.export import Exported, Selection
from ml_microservice.monitoring.export_formats import export_format
from ml_microservice.records.database.store import RecordStore

WITH_GAPS = {"int64": "float64", "bool": "object"}
"""Dtypes that cannot hold missing values, and the dtypes that replace them."""


def export_labelled(store: RecordStore, selection: Selection, schema: ModelSchema, target: Path) -> Exported:
    """Write the labelled frame. Only Parquet keeps the dtypes.

    Raises:
        DatabaseError: no prediction has feedback.
        InputFileError: the file's extension is not known.
    """
    kind = export_format(target)
    frame, notes = labelled_frame(store, selection, schema)
    with written_atomically(target) as path:
        if kind == "parquet":
            frame.to_parquet(path, index=False)
        elif kind == "jsonl":
            frame.to_json(path, orient="records", lines=True, date_format="iso", date_unit="us", force_ascii=False)
        else:
            vectors = [feature.name for feature in schema.spec.features if feature.type == "vector"]
            frame.assign(**{name: frame[name].map(_listed) for name in vectors}).to_csv(path, index=False)
    return Exported(len(frame), tuple(notes))


def labelled_frame(store: RecordStore, selection: Selection, schema: ModelSchema) -> tuple[pd.DataFrame, list[str]]:
    """The predictions that have feedback, ordered by time, as features and target with the dtypes of training.

    Returns:
        The frame, and remarks for the user.

    Raises:
        DatabaseError: no prediction has feedback.
    """
    found = list(store.answered(selection.since, selection.until, selection.model_version, labelled=True))
    if not found:
        message, advice = "no prediction has feedback in that time", "send it to POST /feedback, or look further back"
        raise DatabaseError(Fault(message, advice=advice))
    notes: list[str] = []
    layout, columns = FrameLayout.from_json(schema.layout), {}
    dtypes = dict(layout.dtypes)
    for feature in schema.spec.features:
        name = feature.name
        columns[name] = [_value(feature, record.inputs.get(name)) for record, _ in found]
        gaps = sum(value is None for value in columns[name])
        if feature.pii:
            notes.append(
                f"{name} is personal data (pii), which is not recorded as it is: fill its column to train on it"
            )
        elif gaps and dtypes[name] in WITH_GAPS:
            notes.append(f"{name} was not recorded in {gaps} of {len(found)} rows: the column has gaps")
        if gaps:
            dtypes[name] = WITH_GAPS.get(dtypes[name], dtypes[name])
    frame = FrameLayout(dtypes, layout.categories, layout.none_is_missing).from_columns(columns)
    frame[schema.spec.target] = _target([told.label for _, told in found if told is not None], schema, notes)
    return frame, notes


def _value(feature: Feature, recorded: Any) -> Any:
    """A recorded value in the form of a validated request."""
    if recorded is None or feature.pii:
        return None
    return datetime.fromisoformat(recorded) if feature.type == "datetime" else recorded


def _target(labels: Sequence[str | float], schema: ModelSchema, notes: list[str]) -> "pd.Series[Any]":
    """The labels in the dtype of the training frame's target."""
    known = schema.target
    if known is None:
        return pd.Series(labels)
    if not schema.classes:
        numbers = pd.Series(labels, dtype="float64")
        is_whole = bool((numbers % 1 == 0).all())
        return numbers.astype(known.dtype) if is_whole or "int" not in known.dtype.lower() else numbers  # type: ignore[call-overload]
    values: dict[str | float, Any] = dict(zip(schema.classes, known.values, strict=True))
    named = pd.Series([values.get(label, label) for label in labels], dtype=object)
    unknown = sorted({str(label) for label in labels if label not in values})
    if unknown:
        notes.append(f"{schema.spec.target} has labels that the model does not know: {', '.join(unknown[:5])}")
        return named
    if known.dtype == "category":
        return named.astype(pd.CategoricalDtype(list(known.values)))
    return named.astype(known.dtype)  # type: ignore[call-overload,no-any-return]


def _listed(vector: Any) -> str | None:
    return json.dumps(vector.tolist()) if isinstance(vector, np.ndarray) else None
