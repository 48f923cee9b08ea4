"""Multi-layer perceptrons: one matrix product for each layer, with the operands that scikit-learn uses."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_microservice.inference.engine.checks import Matrix, refuse_non_finite
from ml_microservice.inference.engine.estimator import SelfContained
from ml_microservice.inference.engine.heads import Estimates, Head, sigmoid

Activation = Literal["identity", "logistic", "tanh", "relu"]


@dataclass(frozen=True)
class Network(SelfContained):
    """Layers, followed by a head that reads the scores of the last one."""

    weights: tuple[Matrix, ...]
    """Shape (inputs, outputs) each, in scikit-learn's memory layout, which decides the order in which BLAS adds."""
    biases: tuple[Matrix, ...]
    activation: Activation
    """The activation of all layers but the last."""
    head: Head

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: NaN or infinity, which scikit-learn's networks refuse.
        """
        refuse_non_finite(matrix)
        for layer, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                self._activate(matrix)
            matrix = matrix @ weights
            matrix += bias
        return self.head(matrix)

    def _activate(self, matrix: Matrix) -> None:
        match self.activation:
            case "relu":
                np.maximum(matrix, 0.0, out=matrix)
            case "tanh":
                np.tanh(matrix, out=matrix)
            case "logistic":
                matrix[...] = sigmoid(matrix)
            case "identity":
                pass
