"""Which compiled forms LightGBM and XGBoost models have; known by name, so that neither library need be installed."""

from collections.abc import Mapping

from ml_microservice.training.compilation import lightgbm_trees, native_boosters, xgboost_trees
from ml_microservice.training.compilation.estimators import Compiler

LIGHTGBM: Mapping[str, Compiler] = {"onnx": lightgbm_trees.compiled, "lightgbm": native_boosters.lightgbm}
XGBOOST: Mapping[str, Compiler] = {"onnx": xgboost_trees.compiled, "xgboost": native_boosters.xgboost}
BOOSTERS: dict[str, Mapping[str, Compiler]] = {
    "lightgbm.sklearn.LGBMClassifier": LIGHTGBM,
    "lightgbm.sklearn.LGBMRegressor": LIGHTGBM,
    "xgboost.sklearn.XGBClassifier": XGBOOST,
    "xgboost.sklearn.XGBRegressor": XGBOOST,
}
