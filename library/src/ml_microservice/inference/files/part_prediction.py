"""Predicting a part: the piece of work that any process of any machine can do."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from ml_microservice.inference.files.formats import added_fields
from ml_microservice.inference.files.part_reader import Piece, pieces
from ml_microservice.inference.files.part_writer import csv_line, part_writer
from ml_microservice.inference.files.parts import Part
from ml_microservice.inference.files.places import place
from ml_microservice.inference.files.plan import Done, ModelPlace, Work, bad_name, record_name, result_name
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.row_predictions import predict_rows
from ml_microservice.inference.rows import RowReader, Rows
from ml_microservice.inference.served_model import ServedModel, load_served_model


@lru_cache(maxsize=1)
def served_model(model: ModelPlace) -> ServedModel:
    """The model, loaded once in each process."""
    return load_served_model(model.folder, model.project, model.id_name)


def predict_part(work: Work, part: Part) -> Done:
    """Predict the rows of a part and write its result; last of all, the record that it is done.

    Raises:
        ServiceError: the part cannot be read, or its result not be written.
    """
    served = served_model(work.model)
    reader, folder = RowReader(served), place(work.folder)
    added = pa.schema(added_fields(served))
    schema = None if work.schema is None else pa.schema([*work.schema, *added])
    rows = bad = 0
    reasons: list[bytes] = []
    with (
        folder.child(result_name(part.index, work.format)).writing(folder) as file,
        part_writer(work.format, file, schema, has_header=work.has_header) as write,
    ):
        for piece in pieces(part, reader, work.schema):
            answers, problems = _answers(served, reader, piece, added)
            write(piece, answers)
            reasons += _reasons(part, piece, problems)
            rows += len(piece.numbers) + len(piece.unreadable)
            bad += len(problems) + len(piece.unreadable)
    if reasons:
        with folder.child(bad_name(part.index)).writing(folder) as file:
            file.writelines(reasons)
    done = Done(part.stop, rows, bad)
    with folder.child(record_name(part.index)).writing(folder) as file:
        file.write(orjson.dumps(asdict(done)))
    return done


def _answers(served: ServedModel, reader: RowReader, piece: Piece, added: Any) -> tuple[Any, dict[int, Problem]]:
    """The added columns of a piece, and the problems of its rows."""
    count, classes = len(piece.numbers), served.schema.classes
    values = np.full(count, None, dtype=object)
    probabilities = np.full((count, len(classes)), np.nan)
    problems: dict[int, Problem] = {}
    for positions, rows in _validated(reader, piece):
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


def _validated(reader: RowReader, piece: Piece) -> list[tuple[NDArray[np.intp], Rows]]:
    """The rows with their positions: those that can be validated by columns, and those that cannot."""
    odd = np.flatnonzero(piece.odd)
    if not len(odd):
        return [(np.arange(len(piece.numbers)), reader.table(piece.values, ignore_unknown=True))]
    plain = piece.values.filter(pa.array(~piece.odd))
    records = reader.records([piece.record(int(row)) for row in odd])
    return [(np.flatnonzero(~piece.odd), reader.table(plain, ignore_unknown=True)), (odd, records)]


def _numbers(column: NDArray[np.float64]) -> Any:
    return pa.array(column, from_pandas=True)  # NaN as null


def _reasons(part: Part, piece: Piece, problems: Mapping[int, Problem]) -> list[bytes]:
    """Lines of the file of bad rows; rows are counted from the start of the part, until all parts are known."""
    found: list[tuple[int, str, str, str]] = [(number, "", "unreadable", why) for number, why in piece.unreadable]
    for position, problem in problems.items():
        number = int(piece.numbers[position])
        if not problem.errors:
            found.append((number, "", problem.kind, problem.detail))
        found += [(number, error.feature or "", error.rule, error.message) for error in problem.errors]
    return [csv_line((part.source.url, *reason)) for reason in sorted(found)]
