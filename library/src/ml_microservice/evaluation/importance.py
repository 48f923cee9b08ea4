"""Permutation importance: which features a model relies on."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from ml_microservice.evaluation.scores import Indices

Answer = TypeVar("Answer")


class Importance(NamedTuple):
    """How much worse the score gets when a feature's values are shuffled among the rows."""

    feature: str
    mean_drop: float
    std: float


def feature_importance(
    predict: Callable[[pd.DataFrame], Answer],
    frame: pd.DataFrame,
    score: Callable[[Answer, Indices], float],
    seed: int,
    repeats: int = 5,
    max_rows: int = 2000,
) -> list[Importance]:
    """Permutation importance of the raw features, the most important first.

    Args:
        predict: what the model makes of a frame with the columns of `frame`.
        frame: (n, features); of more than `max_rows` rows a random sample is taken.
        score: greater is better; gets what `predict` returned, and the positions in `frame` of the rows it is for.
    """
    random = np.random.default_rng(seed)
    rows = np.arange(len(frame))
    if len(rows) > max_rows:
        rows = np.sort(random.choice(rows, max_rows, replace=False))
        frame = frame.iloc[rows]
    reference = score(predict(frame), rows)
    found = []
    for position, name in enumerate(frame.columns):
        drops = []
        for _ in range(repeats):
            shuffled = frame.copy()
            # The array, not the column: a column would be aligned by its index and come out unshuffled.
            shuffled.isetitem(position, frame.iloc[:, position].array.take(random.permutation(len(rows))))
            drops.append(reference - score(predict(shuffled), rows))
        found.append(Importance(str(name), float(np.mean(drops)), float(np.std(drops))))
    return sorted(found, key=lambda item: -item.mean_drop)
