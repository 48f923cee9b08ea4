"""LightGBM and XGBoost models as ONNX; known by name, so that neither library need be installed to import this.

LightGBM adds float64 leaves, XGBoost float32 ones. Neither library is then imported in serving.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from service.inference.engine.heads import Head
from service.inference.engine.narrow import NarrowTrees
from service.inference.engine.trees import ONNX_FILE, Trees
from service.training.compilation.estimators import CompiledEstimator, Compiler
from service.training.compilation.forest import LESS, Tree, graph, thresholds
from service.training.compilation.refusal import Refusal

LIGHTGBM_ZERO = float(np.float32(1e-35))
"""`kZeroThreshold` in LightGBM's `include/LightGBM/meta.h`: rows are read as sparse, without what is below it."""


def _lightgbm(model: Any) -> CompiledEstimator:
    dumped = model.booster_.dump_model()
    if dumped.get("average_output"):
        raise Refusal("LightGBM averages its trees (boosting_type='rf')")
    targets = int(dumped["num_tree_per_iteration"])
    trees = [
        replace(_lightgbm_tree(info["tree_structure"]), target=at % targets)
        for at, info in enumerate(dumped["tree_info"])
    ]
    head = _lightgbm_head(dumped["objective"].split())
    estimator = Trees(False, "nothing", np.zeros(targets), None, head, zero_below=LIGHTGBM_ZERO)
    return CompiledEstimator("onnx", estimator, {ONNX_FILE: graph(trees, targets)}, thresholds(trees))


def _lightgbm_head(objective: list[str]) -> Head:
    name, options = objective[0], dict(part.split(":", 1) for part in objective[1:] if ":" in part)
    if name == "binary":
        return Head("sigmoid", by_probability=True, slope=float(options.get("sigmoid", 1)))
    if name == "multiclass":
        return Head("softmax")
    if name in ("poisson", "gamma", "tweedie"):
        return Head("exp")
    if name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape") and "sqrt" not in objective:
        return Head("value")
    raise Refusal(f"LightGBM has the objective {' '.join(objective)!r}")


def _lightgbm_tree(root: dict[str, Any]) -> Tree:
    nodes: list[dict[str, Any]] = []

    def number(node: dict[str, Any]) -> int:
        at = len(nodes)
        nodes.append(node)
        if "split_feature" in node:
            node["true"], node["false"] = number(node["left_child"]), number(node["right_child"])
        return at

    number(root)
    for node in nodes:
        if "split_feature" in node and (node["decision_type"] != "<=" or node["missing_type"] == "Zero"):
            raise Refusal("a LightGBM tree splits by categories, or takes zero for missing")
        if "leaf_coeff" in node:
            raise Refusal("LightGBM has linear trees")
    return Tree(
        feature=np.array([node.get("split_feature", -1) for node in nodes], dtype=np.int64),
        threshold=np.array([node.get("threshold", 0.0) for node in nodes], dtype=np.float64),
        true=np.array([node.get("true", -1) for node in nodes], dtype=np.int64),
        false=np.array([node.get("false", -1) for node in nodes], dtype=np.int64),
        missing_true=np.array([_lightgbm_missing(node) for node in nodes], dtype=np.bool_),
        weight=np.array([node.get("leaf_value", 0.0) for node in nodes], dtype=np.float64),
    )


def _lightgbm_missing(node: dict[str, Any]) -> bool:
    """Where NaN goes; a tree that saw none in training takes it for 0."""
    if "split_feature" not in node:
        return False
    return bool(node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0)


def _xgboost(model: Any) -> CompiledEstimator:
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
        plain = _xgboost_tree(one)
        numbered = np.zeros(len(plain.feature))
        numbered[plain.leaves] = first + np.arange(len(plain.leaves))
        first += len(plain.leaves)
        leaves.append(plain.weight[plain.leaves].astype(np.float32))
        trees.append(replace(plain, weight=numbered, target=position))
    base = _xgboost_base(learner["learner_model_param"]["base_score"], links[objective], outputs)
    estimator = NarrowTrees(np.concatenate(leaves), groups, base, links[objective])  # type: ignore[arg-type]
    return CompiledEstimator("onnx", estimator, {ONNX_FILE: graph(trees, len(trees), LESS)}, thresholds(trees))


def _xgboost_base(text: str, link: str, outputs: int) -> Any:
    """`base_score` before the link, shape (outputs,)."""
    score = np.atleast_1d(np.array(json.loads(text), dtype=np.float32))
    if link == "sigmoid":
        score = -np.log(np.float32(1) / score - np.float32(1))
    elif link == "exp":
        score = np.log(score)
    return np.broadcast_to(score.astype(np.float32), (outputs,)).copy()


def _xgboost_tree(one: dict[str, Any]) -> Tree:
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


BOOSTERS: dict[str, Compiler] = {
    "lightgbm.sklearn.LGBMClassifier": _lightgbm,
    "lightgbm.sklearn.LGBMRegressor": _lightgbm,
    "xgboost.sklearn.XGBClassifier": _xgboost,
    "xgboost.sklearn.XGBRegressor": _xgboost,
}
