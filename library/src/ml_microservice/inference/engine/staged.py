"""An estimator after further steps on its matrix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Estimates
from ml_microservice.inference.engine.steps import Step


@dataclass(frozen=True)
class Staged:
    """Steps, followed by an estimator."""

    steps: tuple[Step, ...]
    """Steps on the matrix; the first one leaves its argument unchanged, because the caller keeps it."""
    estimator: Any

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Estimates]:
        """See `Estimator`."""
        estimate: Callable[[Matrix], Estimates] = self.estimator.bound(files)

        def estimate_after_steps(matrix: Matrix) -> Estimates:
            for step in self.steps:
                matrix = step(matrix)
            return estimate(matrix)

        return estimate_after_steps
