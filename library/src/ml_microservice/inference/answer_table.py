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
    """The problem of each row that has one, by position."""
    prediction_ids: Sequence[str | None]
    """The id of each prediction; None where a row has a problem."""
    entity_ids: EntityIds
    is_logged: bool = True
    """False if a prediction that should be recorded is not."""

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        problems: Mapping[int, Problem],
        prediction_ids: Sequence[str],
        entity_ids: EntityIds,
    ) -> "AnswerTable":
        """Combine the predictions of valid rows with the problems of the others, in the order of the rows."""
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

    def slice(self, start: int, stop: int) -> "AnswerTable":
        """The answers to some rows, from `start` to before `stop`."""
        if start == 0 and stop == len(self.values):
            return self
        return AnswerTable(
            values=self.values[start:stop],
            probabilities=None if self.probabilities is None else self.probabilities[start:stop],
            problems={row - start: problem for row, problem in self.problems.items() if start <= row < stop},
            prediction_ids=self.prediction_ids[start:stop],
            entity_ids=self.entity_ids[start:stop],
            is_logged=self.is_logged,
        )

    @classmethod
    def joined(cls, tables: Sequence["AnswerTable"]) -> "AnswerTable":
        """The answers of several tables, in order."""
        if len(tables) == 1:
            return tables[0]
        problems: dict[int, Problem] = {}
        rows = 0
        for table in tables:
            problems |= {rows + row: problem for row, problem in table.problems.items()}
            rows += len(table.values)
        return cls(
            [value for table in tables for value in table.values],
            _stacked(tables),
            problems,
            [prediction_id for table in tables for prediction_id in table.prediction_ids],
            [entity_id for table in tables for entity_id in table.entity_ids],
            all(table.is_logged for table in tables),
        )

    @property
    def failed(self) -> int:
        """The number of rows that have a problem."""
        return len(self.problems)


def _stacked(tables: Sequence[AnswerTable]) -> NDArray[np.float64] | None:
    """The probabilities of several tables; a table without a valid row has none."""
    classes = max((table.probabilities.shape[1] for table in tables if table.probabilities is not None), default=None)
    if classes is None:
        return None
    matrices = (table.probabilities for table in tables)
    counts = (len(table.values) for table in tables)
    return np.concatenate(
        [
            np.full((count, classes), np.nan) if matrix is None else matrix
            for matrix, count in zip(matrices, counts, strict=True)
        ]
    )


NONE = AnswerTable([], None, {}, [], [])
"""Answers to no rows."""
