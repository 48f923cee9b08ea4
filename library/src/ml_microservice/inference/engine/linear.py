"""Linear and logistic models: one matrix product, with the operands that scikit-learn uses."""

from dataclasses import dataclass, field

import numpy as np

from ml_microservice.inference.engine.checks import Matrix, refuse_non_finite
from ml_microservice.inference.engine.estimator import SelfContained
from ml_microservice.inference.engine.heads import Estimates, Head


@dataclass(frozen=True)
class Linear(SelfContained):
    """`X @ coef.T + intercept`, followed by a head."""

    coefficients: Matrix
    """Shape (m, k)."""
    intercept: Matrix
    """Shape (m,)."""
    head: Head
    _transposed: Matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A transposed view, as in scikit-learn: the memory layout decides the order in which BLAS adds.
        object.__setattr__(self, "_transposed", np.ascontiguousarray(self.coefficients).T)

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: NaN or infinity, which scikit-learn's linear models refuse.
        """
        refuse_non_finite(matrix)
        scores = matrix @ self._transposed
        scores += self.intercept
        return self.head(scores)
