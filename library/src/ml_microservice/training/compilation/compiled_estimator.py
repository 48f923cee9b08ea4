"""The compiled form of an estimator, and the type of the functions that make one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.estimator import Estimator


@dataclass(frozen=True)
class CompiledEstimator:
    """A fitted estimator as data."""

    estimator: Estimator
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that it needs beside the engine's own."""
    thresholds: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    """Values of each column of the matrix at which the prediction may jump."""


Compiler = Callable[[Any], CompiledEstimator]
"""Compiles a fitted estimator; raises `Refusal` if it has an option without a compiled form."""
