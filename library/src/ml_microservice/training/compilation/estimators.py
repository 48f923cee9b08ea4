"""A fitted estimator as data: which compiled forms there are for it, and those of linear models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model as lm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC, LinearSVR

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.inference.engine.estimator import Estimator
from ml_microservice.inference.engine.heads import Head, Kind
from ml_microservice.inference.engine.linear import Linear
from ml_microservice.inference.outputs import class_indices
from ml_microservice.training.compilation.refusal import Refusal


@dataclass(frozen=True)
class CompiledEstimator:
    """A compiled form of an estimator."""

    estimator: Estimator
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What it keeps beside the engine's own files."""
    thresholds: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    """Values of each column of the matrix at which the answer may jump."""


Compiler = Callable[[Any], CompiledEstimator]


def forms(model: Any) -> Mapping[str, Compiler]:
    """What can be tried to compile a fitted estimator, by the name of what will do the work.

    Raises:
        Refusal: nothing can.
    """
    from ml_microservice.training.compilation.bayes import BAYES
    from ml_microservice.training.compilation.boosters import BOOSTERS
    from ml_microservice.training.compilation.neighbours import NEIGHBOURS
    from ml_microservice.training.compilation.networks import NETWORKS
    from ml_microservice.training.compilation.support_vectors import SUPPORT_VECTORS
    from ml_microservice.training.compilation.trees import TREES

    kind = type(model)
    place = f"{kind.__module__}.{kind.__name__}"
    if kind is Pipeline:
        raise Refusal("the model is a Pipeline: move its transformers into Preprocessor")
    in_numpy = {**LINEAR, **NETWORKS, **BAYES, **NEIGHBOURS, **SUPPORT_VECTORS}
    if kind in in_numpy:
        return {"numpy": in_numpy[kind]}
    if kind in TREES:
        return {"onnx": TREES[kind]}
    if place in BOOSTERS:
        return BOOSTERS[place]
    raise Refusal(f"the model ({place}) has no compiled form")


def class_order(model: Any, schema: ModelSchema) -> NDArray[np.intp] | None:
    """Position in the schema's classes of each class of the model; None for regression."""
    if not schema.classes:
        return None
    return class_indices(np.asarray(model.classes_), model, schema.classes, schema.label_form)


def _linear(model: Any, head: Head) -> CompiledEstimator:
    coefficients = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    if coefficients.shape[0] > 1 and head.kind in ("value", "exp"):
        raise Refusal(f"{type(model).__name__} has several outputs")
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), coefficients.shape[:1])
    return CompiledEstimator(Linear(coefficients, intercept.copy(), head))


def _regression(kind: Kind) -> Compiler:
    return lambda model: _linear(model, Head(kind))


def _margins(model: Any) -> CompiledEstimator:
    """Classifiers without probabilities."""
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
