"""Gaussian and Bernoulli naive Bayes; the multinomial and complement ones are `Linear`."""

from dataclasses import dataclass

import numpy as np

from ml_microservice.inference.engine.checks import Matrix, refuse_non_finite
from ml_microservice.inference.engine.estimator import SelfContained
from ml_microservice.inference.engine.heads import Estimates, Head
from ml_microservice.inference.engine.linear import Linear

JOINT = Head("joint")


@dataclass(frozen=True)
class GaussianBayes(SelfContained):
    """`GaussianNB`: the log-likelihood of each class, from squared distances in units of its variances."""

    means: Matrix
    """Shape (classes, k)."""
    variances: Matrix
    """Shape (classes, k)."""
    constants: Matrix
    """Shape (classes,): the log-density of each class at its mean."""
    priors: Matrix
    """Shape (classes,): log-probabilities."""

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: NaN or infinity, which scikit-learn refuses.
        """
        refuse_non_finite(matrix)
        scores = np.empty((len(matrix), len(self.means)))
        parts = zip(self.means, self.variances, self.constants, self.priors, strict=True)
        for column, (mean, variance, constant, prior) in enumerate(parts):
            scores[:, column] = prior + (constant - 0.5 * (((matrix - mean) ** 2) / variance).sum(axis=1))
        return JOINT(scores)


@dataclass(frozen=True)
class Thresholded(SelfContained):
    """`BernoulliNB`: a linear model of numbers that are 1 above a threshold and 0 elsewhere."""

    threshold: float
    linear: Linear

    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: NaN or infinity, which scikit-learn refuses.
        """
        refuse_non_finite(matrix)
        return self.linear((matrix > self.threshold).astype(np.float64))
