"""Compilers of scikit-learn's naive Bayes models."""

from typing import Any

import numpy as np
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB

from ml_microservice.inference.engine.bayes import JOINT, GaussianBayes, Thresholded
from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.linear import Linear
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator, Compiler


def _gaussian(model: Any) -> CompiledEstimator:
    variances = np.asarray(model.var_, dtype=np.float64)
    constants = np.array([-0.5 * np.sum(np.log(2.0 * np.pi * variance)) for variance in variances])
    means = np.asarray(model.theta_, dtype=np.float64)
    return CompiledEstimator(GaussianBayes(means, variances, constants, np.log(model.class_prior_)))


def _multinomial(model: Any) -> CompiledEstimator:
    return _joint(model.feature_log_prob_, model.class_log_prior_)


def _complement(model: Any) -> CompiledEstimator:
    alone = len(model.classes_) == 1
    return _joint(model.feature_log_prob_, model.class_log_prior_ if alone else np.zeros(len(model.classes_)))


def _bernoulli(model: Any) -> CompiledEstimator:
    yes = model.feature_log_prob_
    no = np.log(1 - np.exp(yes))
    compiled = _joint(yes - no, model.class_log_prior_ + no.sum(axis=1))
    if model.binarize is None:
        return compiled
    assert isinstance(compiled.estimator, Linear)
    return CompiledEstimator(Thresholded(float(model.binarize), compiled.estimator), {}, _thresholds(model))


def _joint(coefficients: Matrix, intercept: Matrix) -> CompiledEstimator:
    return CompiledEstimator(Linear(np.asarray(coefficients), np.asarray(intercept), JOINT))


def _thresholds(model: Any) -> dict[int, Matrix]:
    """The threshold, which is the same for every column."""
    return dict.fromkeys(range(model.n_features_in_), np.array([float(model.binarize)]))


BAYES: dict[type, Compiler] = {
    GaussianNB: _gaussian,
    MultinomialNB: _multinomial,
    ComplementNB: _complement,
    BernoulliNB: _bernoulli,
}
