"""An estimator after further steps on its matrix."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Answer
from ml_microservice.inference.engine.steps import Step


@dataclass(frozen=True)
class Staged:
    """Steps, followed by an estimator."""

    steps: tuple[Step, ...]
    """Steps on the matrix; the first one leaves its argument unchanged, because the caller keeps it."""
    estimator: Any

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """See `Estimator`."""
        answer: Callable[[Matrix], Answer] = self.estimator.bound(files)

        def answer_after_steps(matrix: Matrix) -> Answer:
            for step in self.steps:
                matrix = step(matrix)
            return answer(matrix)

        return answer_after_steps
