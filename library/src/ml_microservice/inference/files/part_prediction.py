"""The prediction of a part: the unit of work that any process on any machine can do."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from ml_microservice.inference.files.formats import added_fields
from ml_microservice.inference.files.part_reader import RowSlice, read_slices
from ml_microservice.inference.files.part_writer import csv_line, part_writer
from ml_microservice.inference.files.parts import Part
from ml_microservice.inference.files.places import place
from ml_microservice.inference.files.plan import ModelPlace, PartResult, RunPlan, bad_name, record_name, result_name
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.row_predictions import predict_rows
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import ServedModel, load_served_model


@lru_cache(maxsize=1)
def served_model(model: ModelPlace) -> ServedModel:
    """The model, loaded once in each process."""
    return load_served_model(model.folder, model.project, model.id_name)


def predict_part(plan: RunPlan, part: Part) -> PartResult:
    """Predict the rows of a part and write its result, and last the file that marks it as finished.

    Raises:
        ServiceError: the part cannot be read, or its result cannot be written.
    """
    served = served_model(plan.model)
    reader, folder = RowReader(served), place(plan.folder)
    added = pa.schema(added_fields(served))
    schema = None if plan.schema is None else pa.schema([*plan.schema, *added])
    rows = bad = 0
    reasons: list[bytes] = []
    with (
        folder.child(result_name(part.index, plan.format)).writing(folder) as file,
        part_writer(plan.format, file, schema, has_header=plan.has_header) as write,
    ):
        for row_slice in read_slices(part, reader, plan.schema):
            answers, problems = _answers(served, reader, row_slice, added)
            write(row_slice, answers)
            reasons += _reasons(part, row_slice, problems)
            rows += len(row_slice.numbers) + len(row_slice.unreadable)
            bad += len(problems) + len(row_slice.unreadable)
    if reasons:
        with folder.child(bad_name(part.index)).writing(folder) as file:
            file.writelines(reasons)
    result = PartResult(part.stop, rows, bad)
    with folder.child(record_name(part.index)).writing(folder) as file:
        file.write(orjson.dumps(asdict(result)))
    return result


def _answers(served: ServedModel, reader: RowReader, row_slice: RowSlice, added: Any) -> tuple[Any, dict[int, Problem]]:
    """The added columns of a slice, and the problems of its rows."""
    count, classes = len(row_slice.numbers), served.schema.classes
    values = np.full(count, None, dtype=object)
    probabilities = np.full((count, len(classes)), np.nan)
    problems: dict[int, Problem] = {}
    for positions, rows in _validated(reader, row_slice):
        predictions, failed, _ = predict_rows(served, rows)
        problems |= {int(positions[row]): problem for row, problem in failed.items()}
        right = np.delete(positions, list(failed))
        values[right] = predictions.values
        if predictions.probabilities is not None:
            probabilities[right] = predictions.probabilities
    errors: list[str | None] = [None] * count
    for row, problem in problems.items():
        errors[row] = problem.detail
    columns = [values, *(_numbers(column) for column in probabilities.T), errors]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, added, strict=True)]
    return pa.table(arrays, schema=added), problems


def _validated(reader: RowReader, row_slice: RowSlice) -> list[tuple[NDArray[np.intp], Rows]]:
    """Positions and validated rows: those that could be validated by columns, and the odd ones."""
    odd = np.flatnonzero(row_slice.odd)
    if not len(odd):
        return [(np.arange(len(row_slice.numbers)), reader.table(row_slice.values, ignore_unknown=True))]
    plain = row_slice.values.filter(pa.array(~row_slice.odd))
    records = reader.records([row_slice.record(int(row)) for row in odd])
    return [(np.flatnonzero(~row_slice.odd), reader.table(plain, ignore_unknown=True)), (odd, records)]


def _numbers(column: NDArray[np.float64]) -> Any:
    return pa.array(column, from_pandas=True)  # NaN as null


def _reasons(part: Part, row_slice: RowSlice, problems: Mapping[int, Problem]) -> list[bytes]:
    """Lines for the file of bad rows, with rows counted from the start of the part."""
    found: list[tuple[int, str, str, str]] = [(number, "", "unreadable", why) for number, why in row_slice.unreadable]
    for position, problem in problems.items():
        number = int(row_slice.numbers[position])
        if not problem.errors:
            found.append((number, "", problem.kind, problem.detail))
        found += [(number, error.feature or "", error.rule, error.message) for error in problem.errors]
    return [csv_line((part.source.url, *reason)) for reason in sorted(found)]
