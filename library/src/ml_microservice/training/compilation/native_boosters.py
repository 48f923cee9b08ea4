"""LightGBM and XGBoost models as they are, for their own libraries to answer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.native import LIGHTGBM_FILE, XGBOOST_FILE, LightGBMBooster, XGBoostBooster
from ml_microservice.training.compilation import lightgbm_trees, xgboost_trees
from ml_microservice.training.compilation.estimators import CompiledEstimator, Compiler
from ml_microservice.training.compilation.refusal import Refusal

Thresholds = dict[int, NDArray[np.float64]]


def lightgbm(model: Any) -> CompiledEstimator:
    """A fitted `LGBMClassifier` or `LGBMRegressor`.

    Raises:
        Refusal: its Python package does more than its library.
    """
    if callable(model.objective):
        raise Refusal("LightGBM has an objective of its own")
    if model.booster_.pandas_categorical:
        raise Refusal("LightGBM takes categories from a frame: encode them in Preprocessor")
    booster = LightGBMBooster(_outputs(model), _head(model))
    files = {LIGHTGBM_FILE: model.booster_.model_to_string().encode()}
    return CompiledEstimator(booster, files, _thresholds(lightgbm_trees.compiled, model))


def xgboost(model: Any) -> CompiledEstimator:
    """A fitted `XGBClassifier` or `XGBRegressor`.

    Raises:
        Refusal: its Python package does more than its library.
    """
    if callable(model.objective):
        raise Refusal("XGBoost has an objective of its own")
    if model.booster == "gblinear":
        raise Refusal("XGBoost has the booster 'gblinear'")
    first, last = model._get_iteration_range(None)
    missing = None if model.missing is None or model.missing != model.missing else float(model.missing)
    booster = XGBoostBooster((int(first), int(last)), missing, _head(model))
    files = {XGBOOST_FILE: bytes(model.get_booster().save_raw("ubj"))}
    return CompiledEstimator(booster, files, _thresholds(xgboost_trees.compiled, model))


def _head(model: Any) -> Head:
    return Head("probabilities" if hasattr(model, "classes_") else "value")


def _outputs(model: Any) -> int:
    """Numbers that the library answers for a row: of two classes only the second one's probability."""
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    return classes if classes > 2 else 1


def _thresholds(compiler: Compiler, model: Any) -> Thresholds:
    """Where its answers jump, as far as the trees can be read."""
    try:
        return dict(compiler(model).thresholds)
    except (Refusal, ImportError):
        return {}
