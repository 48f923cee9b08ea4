"""Compilers of scikit-learn's linear, logistic and generalised linear models."""

from typing import Any

import numpy as np
from sklearn import linear_model as lm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import LinearSVC, LinearSVR

from ml_microservice.inference.engine.heads import Head, Kind
from ml_microservice.inference.engine.linear import Linear
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator, Compiler
from ml_microservice.training.compilation.refusal import Refusal


def _linear(model: Any, head: Head) -> CompiledEstimator:
    coefficients = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    if coefficients.shape[0] > 1 and head.kind in ("value", "exp"):
        raise Refusal(f"{type(model).__name__} has several outputs")
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), coefficients.shape[:1])
    return CompiledEstimator(Linear(coefficients, intercept.copy(), head))


def _regression(kind: Kind) -> Compiler:
    return lambda model: _linear(model, Head(kind))


def _margins(model: Any) -> CompiledEstimator:
    """Compile a classifier without probabilities."""
    return _linear(model, Head("margin"))


def _logistic(model: Any) -> CompiledEstimator:
    return _linear(model, Head("sigmoid" if len(model.classes_) == 2 else "softmax"))


def _one_against_rest(model: Any) -> CompiledEstimator:
    return _linear(model, Head("sigmoid" if len(model.classes_) == 2 else "ovr"))


def _stochastic(model: Any) -> CompiledEstimator:
    if model.loss == "log_loss":
        return _one_against_rest(model)
    if hasattr(model, "predict_proba"):
        raise Refusal(f"SGDClassifier(loss={model.loss!r}) has probabilities of its own kind")
    return _margins(model)


def _generalised(model: Any) -> CompiledEstimator:
    links = {"LogLink": Head("exp"), "IdentityLink": Head("value")}
    link = type(model._base_loss.link).__name__
    if link not in links:
        raise Refusal(f"{type(model).__name__} has the link {link}")
    return _linear(model, links[link])


LINEAR: dict[type, Compiler] = {
    lm.LogisticRegression: _logistic,
    lm.LogisticRegressionCV: _logistic,
    LinearDiscriminantAnalysis: _logistic,
    lm.SGDClassifier: _stochastic,
    **dict.fromkeys((lm.RidgeClassifier, lm.RidgeClassifierCV, lm.Perceptron, LinearSVC), _margins),
    **dict.fromkeys(
        (
            lm.LinearRegression,
            lm.Ridge,
            lm.RidgeCV,
            lm.Lasso,
            lm.LassoCV,
            lm.LassoLars,
            lm.ElasticNet,
            lm.ElasticNetCV,
            lm.Lars,
            lm.BayesianRidge,
            lm.ARDRegression,
            lm.HuberRegressor,
            lm.TheilSenRegressor,
            lm.SGDRegressor,
            lm.QuantileRegressor,
            lm.OrthogonalMatchingPursuit,
            LinearSVR,
        ),
        _regression("value"),
    ),
    **dict.fromkeys((lm.PoissonRegressor, lm.GammaRegressor, lm.TweedieRegressor), _generalised),
}
