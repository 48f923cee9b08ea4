"""A preprocessor that some values are bad for: what a library may do to the process that it runs in."""

import os
import signal
import time
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin

from tests.conftest import house_preprocessor

DEADLY, ENDLESS, SLOW = 666.0, 777.0, 555.0
"""Floor areas: the process dies, the call does not come back, the call takes half a second."""
SLOW_SECONDS = 0.5


class PoisonedPreprocessor(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """As that of the houses, but for some values."""

    def fit(self, X: Any, y: Any = None) -> "PoisonedPreprocessor":
        """Fit that of the houses."""
        self.inner_ = house_preprocessor().fit(X)
        return self

    def transform(self, X: Any) -> Any:
        """Transform, or not."""
        areas = set(X["floor area"])
        if DEADLY in areas:
            os.kill(os.getpid(), signal.SIGKILL)
        if ENDLESS in areas:
            time.sleep(10_000)
        if SLOW in areas:
            time.sleep(SLOW_SECONDS)
        return self.inner_.transform(X)
