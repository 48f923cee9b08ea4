"""The speed of a predictor, measured in this process and on this machine."""

import time

from ml_microservice.features.columns import Columns
from ml_microservice.inference.predictor import Predictor

CALLS, SECONDS = 20, 0.1
"""The most calls to time, and the time after which no further call is made."""


def microseconds(predictor: Predictor, columns: Columns) -> float:
    """The time of the fastest of several calls."""
    times: list[float] = []
    while len(times) < CALLS and sum(times) < SECONDS:
        start = time.perf_counter()
        predictor.predict(columns)
        times.append(time.perf_counter() - start)
    return round(min(times) * 1e6, 1)
