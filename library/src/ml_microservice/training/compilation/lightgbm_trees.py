"""Compiler of LightGBM models: an ONNX graph with float64 thresholds and leaves, added in float64."""

from dataclasses import replace
from typing import Any

import numpy as np

from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.trees import ONNX_FILE, Trees
from ml_microservice.training.compilation.categories import HALF, CategorySplits
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator
from ml_microservice.training.compilation.forest import Tree, graph, thresholds
from ml_microservice.training.compilation.refusal import Refusal

ZERO = float(np.float32(1e-35))
"""`kZeroThreshold` in LightGBM's `include/LightGBM/meta.h`: LightGBM reads smaller magnitudes as 0."""


def compiled(model: Any) -> CompiledEstimator:
    """Compile a fitted `LGBMClassifier` or `LGBMRegressor`.

    Raises:
        Refusal: its trees or its objective have no compiled form.
    """
    dumped = model.booster_.dump_model()
    if dumped.get("average_output"):
        raise Refusal("LightGBM averages its trees (boosting_type='rf')")
    targets, head = int(dumped["num_tree_per_iteration"]), _head(model, dumped)
    splits = CategorySplits(int(dumped["max_feature_idx"]) + 1, whole=True)
    exact = _exact_thresholds(model.booster_.model_to_string())
    trees = [
        replace(_tree(info["tree_structure"], values, splits), target=at % targets)
        for at, (info, values) in enumerate(zip(dumped["tree_info"], exact, strict=True))
    ]
    estimator = Trees(False, "nothing", np.zeros(targets), None, head, zero_below=ZERO)
    made = CompiledEstimator(estimator, {ONNX_FILE: graph(trees, targets)}, thresholds(trees))
    return splits.staged(made) if splits else made


def _head(model: Any, dumped: dict[str, Any]) -> Head:
    objective = dumped["objective"].split() if "objective" in dumped else ["none"]
    name, options = objective[0], dict(part.split(":", 1) for part in objective[1:] if ":" in part)
    if callable(model.objective):
        raise Refusal("LightGBM has an objective of its own")
    if name == "binary":
        return Head("sigmoid", by_probability=True, slope=float(options.get("sigmoid", 1)))
    if name == "multiclass":
        return Head("softmax")
    if name in ("poisson", "gamma", "tweedie"):
        return Head("exp")
    if name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape") and "sqrt" not in objective:
        return Head("value")
    raise Refusal(f"LightGBM has the objective {' '.join(objective)!r}")


def _exact_thresholds(text: str) -> list[list[float]]:
    """The thresholds of each tree: `dump_model` clips an infinite one, which separates missing values, to 1e300."""
    trees = text.split("\nTree=")[1:]
    lines = [dict(line.split("=", 1) for line in tree.splitlines() if "=" in line) for tree in trees]
    return [[float(value) for value in tree.get("threshold", "").split()] for tree in lines]


def _tree(root: dict[str, Any], exact: list[float], splits: CategorySplits) -> Tree:
    nodes: list[dict[str, Any]] = []

    def number(node: dict[str, Any]) -> int:
        at = len(nodes)
        nodes.append(node)
        if "split_feature" in node:
            node["true"], node["false"] = number(node["left_child"]), number(node["right_child"])
        return at

    number(root)
    for node in nodes:
        if "leaf_coeff" in node:
            raise Refusal("LightGBM has linear trees")
        if "split_feature" in node:
            _read_split(node, exact, splits)
    return Tree(
        feature=np.array([node.get("split_feature", -1) for node in nodes], dtype=np.int64),
        threshold=np.array([node.get("threshold", 0.0) for node in nodes], dtype=np.float64),
        true=np.array([node.get("true", -1) for node in nodes], dtype=np.int64),
        false=np.array([node.get("false", -1) for node in nodes], dtype=np.int64),
        missing_true=np.array([node.get("missing_true", False) for node in nodes], dtype=np.bool_),
        weight=np.array([node.get("leaf_value", 0.0) for node in nodes], dtype=np.float64),
    )


def _read_split(node: dict[str, Any], exact: list[float], splits: CategorySplits) -> None:
    """Rewrite a split as x <= threshold, with the branch that NaN takes."""
    if node["decision_type"] == "==":
        # Values outside of the set go right, and so does NaN.
        left = {float(value) for value in node["threshold"].split("||")}
        node["split_feature"] = splits.column(node["split_feature"], left, rest_left=False)
        node["threshold"] = HALF
        return
    if node["missing_type"] == "Zero":
        raise Refusal("LightGBM reads zero as missing")
    node["threshold"] = exact[node["split_index"]]
    # A tree that saw no NaN in training reads it as 0.
    is_nan_known = node["missing_type"] == "NaN"
    node["missing_true"] = bool(node["default_left"] if is_nan_known else node["threshold"] >= 0.0)
