"""Compiler of XGBoost models: an ONNX graph finds the leaves, and numpy adds them in float32 as XGBoost does."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from ml_microservice.inference.engine.narrow import NarrowTrees
from ml_microservice.inference.engine.trees import ONNX_FILE
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator
from ml_microservice.training.compilation.forest import LESS, Tree, graph, thresholds
from ml_microservice.training.compilation.refusal import Refusal


def compiled(model: Any) -> CompiledEstimator:
    """Compile a fitted `XGBClassifier` or `XGBRegressor`.

    Raises:
        Refusal: its trees or its objective have no compiled form.
    """
    if model.missing is not None and model.missing == model.missing:
        raise Refusal(f"XGBoost reads {model.missing!r} as missing")
    booster = model.get_booster()
    if getattr(model, "best_iteration", None) is not None and model.early_stopping_rounds:
        booster = booster[: model.best_iteration + 1]
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    gradient = learner["gradient_booster"]
    if gradient.get("name") != "gbtree":
        raise Refusal(f"XGBoost has the booster {gradient.get('name')!r}")
    fitted = gradient["model"]["trees"]
    groups = np.array(gradient["model"]["tree_info"], dtype=np.intp)
    objective = learner["objective"]["name"]
    links = {"binary:logistic": "sigmoid", "multi:softprob": "softmax", "reg:squarederror": "value"}
    links |= {"count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp"}
    if objective not in links:
        raise Refusal(f"XGBoost has the objective {objective!r}")
    outputs = int(groups.max()) + 1
    trees, leaves, first = [], [], 0
    for position, one in enumerate(fitted):
        plain = _tree(one)
        numbered = np.zeros(len(plain.feature))
        numbered[plain.leaves] = first + np.arange(len(plain.leaves))
        first += len(plain.leaves)
        leaves.append(plain.weight[plain.leaves].astype(np.float32))
        trees.append(replace(plain, weight=numbered, target=position))
    base = _base(learner["learner_model_param"]["base_score"], links[objective], outputs)
    estimator = NarrowTrees(np.concatenate(leaves), groups, base, links[objective])  # type: ignore[arg-type]
    return CompiledEstimator(estimator, {ONNX_FILE: graph(trees, len(trees), LESS)}, thresholds(trees))


def _base(text: str, link: str, outputs: int) -> Any:
    """The `base_score` as it is before the link function, shape (outputs,)."""
    score = np.atleast_1d(np.array(json.loads(text), dtype=np.float32))
    if link == "sigmoid":
        score = -np.log(np.float32(1) / score - np.float32(1))
    elif link == "exp":
        score = np.log(score)
    return np.broadcast_to(score.astype(np.float32), (outputs,)).copy()


def _tree(one: dict[str, Any]) -> Tree:
    if one.get("categories_nodes") or int(one["tree_param"].get("size_leaf_vector", "1")) > 1:
        raise Refusal("an XGBoost tree splits by categories, or has several outputs")
    true = np.array(one["left_children"], dtype=np.int64)
    leaf = true == -1
    values = np.array(one["split_conditions"], dtype=np.float32).astype(np.float64)
    return Tree(
        feature=np.where(leaf, -1, np.array(one["split_indices"], dtype=np.int64)),
        threshold=np.where(leaf, 0.0, values),
        true=true,
        false=np.array(one["right_children"], dtype=np.int64),
        missing_true=np.array(one["default_left"], dtype=np.bool_),
        weight=values,
    )
