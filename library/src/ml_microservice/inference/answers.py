"""Answers to many rows, written piece by piece: as JSON, JSON lines, CSV, Parquet and Arrow."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from ml_microservice.features.columns import as_list
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import EntityIds

Record = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """Answers to rows, in order; by columns, since an object for each of many rows costs more than its prediction."""

    values: Sequence[str | float | None]
    """Class names, or numbers; None where a row has a problem."""
    probabilities: NDArray[np.float64] | None
    """Shape (rows, classes), NaN where a row has a problem; None for regression and where the model has none."""
    problems: Mapping[int, Problem]
    """By position."""
    prediction_ids: Sequence[str | None]
    """None where a row has a problem."""
    entity_ids: EntityIds
    is_logged: bool = True
    """Whether no prediction is given without a record that there should be."""

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        problems: Mapping[int, Problem],
        prediction_ids: Sequence[str],
        entity_ids: EntityIds,
    ) -> "Answers":
        """Predictions of valid rows put in their places among those that have problems."""
        values, probabilities = predictions.values, predictions.probabilities
        if not problems:
            return cls(values, probabilities, problems, prediction_ids, entity_ids)
        count = len(entity_ids)
        valid = [row for row in range(count) if row not in problems]
        placed_values, placed_ids = dict(zip(valid, values, strict=True)), dict(zip(valid, prediction_ids, strict=True))
        if probabilities is not None:
            spread = np.full((count, probabilities.shape[1]), np.nan)
            spread[valid] = probabilities
            probabilities = spread
        rows = range(count)
        return cls(
            [placed_values.get(row) for row in rows],
            probabilities,
            problems,
            [placed_ids.get(row) for row in rows],
            entity_ids,
        )

    @classmethod
    def joined(cls, pieces: Sequence["Answers"]) -> "Answers":
        """The answers of pieces, in order."""
        if len(pieces) == 1:
            return pieces[0]
        problems: dict[int, Problem] = {}
        rows = 0
        for piece in pieces:
            problems |= {rows + row: problem for row, problem in piece.problems.items()}
            rows += len(piece.values)
        return cls(
            [value for piece in pieces for value in piece.values],
            _stacked(pieces),
            problems,
            [prediction_id for piece in pieces for prediction_id in piece.prediction_ids],
            [entity_id for piece in pieces for entity_id in piece.entity_ids],
            all(piece.is_logged for piece in pieces),
        )

    @property
    def failed(self) -> int:
        """How many rows have a problem."""
        return len(self.problems)


def _stacked(pieces: Sequence[Answers]) -> NDArray[np.float64] | None:
    """The probabilities of pieces, of which those without a valid row have none."""
    classes = max((piece.probabilities.shape[1] for piece in pieces if piece.probabilities is not None), default=None)
    if classes is None:
        return None
    matrices = (piece.probabilities for piece in pieces)
    counts = (len(piece.values) for piece in pieces)
    return np.concatenate(
        [
            np.full((count, classes), np.nan) if matrix is None else matrix
            for matrix, count in zip(matrices, counts, strict=True)
        ]
    )


NONE = Answers([], None, {}, [], [])
"""Answers to no rows."""


@dataclass(frozen=True)
class Heading:
    """What the answers to all rows of a request share."""

    classes: Sequence[str]
    id_name: str | None
    """None where no row was sent with an entity id."""
    has_text_ids: bool
    """Whether entity ids are text, or else whole numbers."""
    provenance: Mapping[str, str]
    """Which model answers, and when."""
    has_logged: bool
    """Whether tables tell of each prediction if it is recorded."""


class Writer(Protocol):
    """Writes answers in one format."""

    def __init__(self, heading: Heading) -> None: ...

    def write(self, answers: Answers) -> bytes:
        """The next rows."""
        ...

    def end(self) -> bytes:
        """What comes after the last rows."""
        ...


def probability_columns(classes: Sequence[str]) -> list[str]:
    """The columns of the probabilities in a table."""
    return [f"probability_{name}" for name in classes]


def answer_columns(answers: Answers, classes: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Answers as the columns of a table, without the entity ids."""
    names = probability_columns(classes)
    if answers.probabilities is None:
        probabilities = {name: [None] * len(answers.values) for name in names}
    else:
        probabilities = {name: as_list(answers.probabilities[:, i]) for i, name in enumerate(names)}
    errors: list[str | None] = [None] * len(answers.values)
    for row, problem in answers.problems.items():
        errors[row] = problem.detail
    ids = answers.prediction_ids
    return {"prediction": answers.values, **probabilities, "prediction_id": ids, "error": errors}


def answer_documents(answers: Answers, classes: Sequence[str], id_name: str | None) -> list[Record]:
    """Answers as JSON objects; a problem is a whole problem document."""
    documents: list[Record] = []
    probabilities = None if answers.probabilities is None else answers.probabilities.tolist()
    for row, value in enumerate(answers.values):
        if row in answers.problems:
            documents.append({"error": answers.problems[row].as_json()})
            continue
        document: Record = {"prediction": value}
        if probabilities is not None:
            document["probabilities"] = dict(zip(classes, probabilities[row], strict=True))
        document["prediction_id"] = answers.prediction_ids[row]
        if id_name is not None and answers.entity_ids[row] is not None:
            document[id_name] = answers.entity_ids[row]
        if not answers.is_logged:
            document["logged"] = False
        documents.append(document)
    return documents


class JsonWriter:
    """One document with a list of answers, the number of those that failed, and the provenance."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._failed = 0
        self._before = b'{"predictions":['

    def write(self, answers: Answers) -> bytes:
        """See `Writer`."""
        documents = answer_documents(answers, self._heading.classes, self._heading.id_name)
        self._failed += answers.failed
        written = self._before + orjson.dumps(documents)[1:-1]
        self._before = b"," if documents else self._before
        return written

    def end(self) -> bytes:
        """See `Writer`."""
        start = self._before if self._before != b"," else b""
        return start + b'],"failed":%d,' % self._failed + orjson.dumps(self._heading.provenance)[1:]


class JsonLinesWriter:
    """An answer on each line."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading

    def write(self, answers: Answers) -> bytes:
        """See `Writer`."""
        documents = answer_documents(answers, self._heading.classes, self._heading.id_name)
        return b"".join(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE) for document in documents)

    def end(self) -> bytes:
        """See `Writer`."""
        return b""


class CsvWriter:
    """A header and a line for each answer."""

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._has_header = False

    def write(self, answers: Answers) -> bytes:
        """See `Writer`."""
        columns = table_columns(answers, self._heading)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._has_header:
            writer.writerow(columns)
            self._has_header = True
        writer.writerows(zip(*columns.values(), strict=True))
        return text.getvalue().encode()

    def end(self) -> bytes:
        """See `Writer`."""
        return b"" if self._has_header else self.write(NONE)


def table_columns(answers: Answers, heading: Heading) -> dict[str, Any]:
    """Answers as the columns of a table."""
    ids = {heading.id_name: answers.entity_ids} if heading.id_name is not None else {}
    logged = {"logged": _logged(answers)} if heading.has_logged else {}
    return {**answer_columns(answers, heading.classes), **logged, **ids}


def _logged(answers: Answers) -> list[bool | None]:
    """Whether each prediction is recorded; None where there is none."""
    return [None if row in answers.problems else answers.is_logged for row in range(len(answers.values))]
