"""Whether the probabilities that a classifier gives are the frequencies with which it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_microservice.evaluation.scores import Floats

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """The held-out rows whose answer was given with a probability in this range."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean probability of the answers given."""
    right: float
    """Share of those answers that are right."""


def calibration_bins(confidence: Floats, right: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """How often answers are right, by the probability (n,) that they were given with; the bins that have rows."""
    places = np.clip((confidence * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    return tuple(
        CalibrationBin(
            low=int(place) / CALIBRATION_BINS,
            high=(int(place) + 1) / CALIBRATION_BINS,
            rows=int((places == place).sum()),
            confidence=float(confidence[places == place].mean()),
            right=float(right[places == place].mean()),
        )
        for place in np.unique(places)
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """How far the stated probability is from the share of right answers, on average over rows; None without any."""
    rows = sum(item.rows for item in bins)
    return sum(item.rows * abs(item.confidence - item.right) for item in bins) / rows if rows else None
