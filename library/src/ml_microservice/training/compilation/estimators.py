"""The estimators that can be compiled, by class, and the reason for each well-known one that cannot."""

from dataclasses import dataclass
from typing import Any, Literal

from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from ml_microservice.training.compilation import lightgbm_trees, xgboost_trees
from ml_microservice.training.compilation.bayes import BAYES
from ml_microservice.training.compilation.compiled_estimator import Compiler
from ml_microservice.training.compilation.linear import LINEAR
from ml_microservice.training.compilation.networks import NETWORKS
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.compilation.trees import TREES

IN_NUMPY: dict[type, Compiler] = {**LINEAR, **NETWORKS, **BAYES}
BOOSTERS: dict[str, Compiler] = {
    "lightgbm.sklearn.LGBMClassifier": lightgbm_trees.compiled,
    "lightgbm.sklearn.LGBMRegressor": lightgbm_trees.compiled,
    "xgboost.sklearn.XGBClassifier": xgboost_trees.compiled,
    "xgboost.sklearn.XGBRegressor": xgboost_trees.compiled,
}
"""Keyed by the name of the class, so that neither library has to be installed."""
PYTHON_ONLY: dict[type, str] = {
    **dict.fromkeys(
        (KNeighborsClassifier, KNeighborsRegressor),
        "which of several equally distant neighbours counts depends on the order of scikit-learn's search",
    ),
    **dict.fromkeys((SVC, NuSVC, SVR, NuSVR), "its predictions depend on the order in which libsvm adds"),
}
"""Why estimators are left to their Python objects: a copy of such an order would cost more than it saves."""


@dataclass(frozen=True)
class Form:
    """How an estimator is compiled."""

    runtime: Literal["numpy", "onnx"]
    """The library that computes the predictions."""
    compile: Compiler


def form_of(model: Any) -> Form:
    """The form that a fitted estimator is compiled to.

    Raises:
        Refusal: it has none.
    """
    kind = type(model)
    place = f"{kind.__module__}.{kind.__name__}"
    if kind is Pipeline:
        raise Refusal("the model is a Pipeline: move its transformers into Preprocessor")
    if kind in PYTHON_ONLY:
        raise Refusal(f"{kind.__name__} is served by its Python object, in batches: {PYTHON_ONLY[kind]}")
    if kind in IN_NUMPY:
        return Form("numpy", IN_NUMPY[kind])
    if kind in TREES:
        return Form("onnx", TREES[kind])
    if place in BOOSTERS:
        return Form("onnx", BOOSTERS[place])
    raise Refusal(f"the model ({place}) has no compiled form")
