"""Answers to many rows, kept as columns: an object for each row would cost more than its prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.rows import EntityIds


@dataclass(frozen=True)
class AnswerTable:
    """Answers to rows, in order."""

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
    ) -> "AnswerTable":
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
    def joined(cls, pieces: Sequence["AnswerTable"]) -> "AnswerTable":
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


def _stacked(pieces: Sequence[AnswerTable]) -> NDArray[np.float64] | None:
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


NONE = AnswerTable([], None, {}, [], [])
"""Answers to no rows."""
