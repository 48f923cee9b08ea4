"""Compilers of scikit-learn's trees, forests and boosting, which become ONNX with float64 thresholds and leaves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import ensemble, tree
from sklearn.dummy import DummyClassifier, DummyRegressor

from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.steps import Check, Take
from ml_microservice.inference.engine.trees import ONNX_FILE, Trees
from ml_microservice.training.compilation.categories import HALF, CategorySplits
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator, Compiler
from ml_microservice.training.compilation.forest import Tree, graph, thresholds
from ml_microservice.training.compilation.refusal import Refusal


def _forest_classifier(model: Any) -> CompiledEstimator:
    return _averaged(model, model.estimators_)


def _tree_classifier(model: Any) -> CompiledEstimator:
    return _averaged(model, [model])


def _averaged(model: Any, fitted: Sequence[Any]) -> CompiledEstimator:
    """Compile trees whose probabilities are averaged.

    The graph finds the leaf of each tree. numpy adds the leaves in scikit-learn's order, so that a tie between classes
    stays a tie.
    """
    trees, values, first = [], [], 0
    for position, one in enumerate(fitted):
        plain = _plain(one.tree_)
        leaves = plain.leaves
        numbered = np.zeros(len(plain.feature))
        numbered[leaves] = first + np.arange(len(leaves))
        first += len(leaves)
        trees.append(replace(plain, weight=numbered, target=position))
        values.append(one.tree_.value[leaves, 0, :])
    leaf_values = np.ascontiguousarray(np.concatenate(values), dtype=np.float64)
    base = np.zeros(leaf_values.shape[1])
    estimator = Trees(True, _refuses(model), base, leaf_values, Head("probabilities"))
    files = {ONNX_FILE: graph(trees, len(trees))}
    return CompiledEstimator(estimator, files, thresholds(trees))


def _forest_regressor(model: Any) -> CompiledEstimator:
    fitted = [_plain(one.tree_) for one in model.estimators_]
    # The mean as a sum of leaves divided by the number of trees, which may round the last digit differently.
    trees = [replace(one, weight=one.weight / len(fitted)) for one in fitted]
    return _summed(model, trees, np.zeros(1), Head("value"))


def _tree_regressor(model: Any) -> CompiledEstimator:
    return _summed(model, [_plain(model.tree_)], np.zeros(1), Head("value"))


def _gradient_boosting(model: Any) -> CompiledEstimator:
    fitted = model.estimators_
    trees = []
    for stage in fitted:
        for target, one in enumerate(stage):
            plain = _plain(one.tree_)
            trees.append(replace(plain, weight=model.learning_rate * plain.weight, target=target))
    columns = fitted[0, 0].n_features_in_
    if model.init_ != "zero" and not isinstance(model.init_, DummyClassifier | DummyRegressor):
        raise Refusal(f"{type(model).__name__} starts from another model (init)")
    base = np.asarray(model._raw_predict_init(np.zeros((1, columns), dtype=np.float32))[0], dtype=np.float64)
    return _summed(model, trees, base, _boosting_head(model))


def _boosting_head(model: Any) -> Head:
    if not hasattr(model, "classes_"):
        return Head("value")
    if model.loss == "exponential":
        return Head("sigmoid", zero_is_positive=True, slope=2.0)
    return Head("sigmoid", zero_is_positive=True) if len(model.classes_) == 2 else Head("softmax")


def _histogram_boosting(model: Any) -> CompiledEstimator:
    base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
    if hasattr(model, "classes_"):
        head = Head("sigmoid") if len(model.classes_) == 2 else Head("softmax")
    else:
        links = {"IdentityLink": Head("value"), "LogLink": Head("exp")}
        link = type(model._loss.link).__name__
        if link not in links:
            raise Refusal(f"{type(model).__name__} has the link {link}")
        head = links[link]
    if model._preprocessor is not None:
        return _histogram_with_categories(model, base, head)
    trees = [
        replace(_histogram_tree(one.nodes), target=target)
        for stage in model._predictors
        for target, one in enumerate(stage)
    ]
    return _summed(model, trees, base, head, narrow=False)


def _histogram_with_categories(model: Any, base: NDArray[np.float64], head: Head) -> CompiledEstimator:
    """Compile a model that encodes categorical columns and puts them first; the graph takes the original columns."""
    encoder, encoded = model._preprocessor.named_transformers_["encoder"], np.flatnonzero(model.is_categorical_)
    columns = [*encoded.tolist(), *np.flatnonzero(~model.is_categorical_).tolist()]
    categories: dict[int, list[float]] = {}
    for column, values in zip(encoded.tolist(), encoder.categories_, strict=True):
        if np.asarray(values).dtype.kind not in "fiub":
            raise Refusal(f"{type(model).__name__} has categorical_features that are not numbers")
        categories[column] = [float(value) for value in values if value == value]
    splits = CategorySplits(len(columns))
    trees = []
    for stage in model._predictors:
        for target, one in enumerate(stage):
            feature = np.array([columns[at] for at in one.nodes["feature_idx"]], dtype=np.int64)
            tree = replace(_histogram_tree(one.nodes), target=target)
            feature = np.where(tree.feature < 0, -1, feature)
            for node in np.flatnonzero(one.nodes["is_categorical"]):
                column = int(feature[node])
                bits = one.raw_left_cat_bitsets[one.nodes["bitset_idx"][node]]
                left = {value for code, value in enumerate(categories[column]) if bits[code // 32] >> (code % 32) & 1}
                # An unknown category takes the branch of the missing value.
                rest_left = bool(one.nodes["missing_go_to_left"][node])
                apart = set(categories[column]) - left if rest_left else left
                feature[node], tree.threshold[node] = splits.column(column, apart, rest_left=rest_left), HALF
            trees.append(replace(tree, feature=feature))
    compiled = _summed(model, trees, base, head, narrow=False)
    checks = (Take(encoded), Check(nan=True), Take(encoded[:0]))
    return splits.staged(compiled, checks)


def _histogram_tree(nodes: NDArray[Any]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        true=nodes["left"].astype(np.int64),
        false=nodes["right"].astype(np.int64),
        missing_true=nodes["missing_go_to_left"].astype(bool),
        weight=nodes["value"].astype(np.float64),
    )


def _summed(
    model: Any, trees: Sequence[Tree], base: NDArray[np.float64], head: Head, *, narrow: bool = True
) -> CompiledEstimator:
    refuses = _refuses(model) if narrow else "nothing"
    estimator = Trees(narrow, refuses, base, None, head)
    return CompiledEstimator(estimator, {ONNX_FILE: graph(trees, len(base))}, thresholds(trees))


def _plain(fitted: Any) -> Tree:
    """Read a `sklearn.tree._tree.Tree`: x <= threshold goes left, and a child of -1 marks a leaf."""
    nodes = fitted.__getstate__()["nodes"]
    leaf = nodes["left_child"] == -1
    return Tree(
        feature=np.where(leaf, -1, nodes["feature"]).astype(np.int64),
        threshold=nodes["threshold"].astype(np.float64),
        true=nodes["left_child"].astype(np.int64),
        false=nodes["right_child"].astype(np.int64),
        missing_true=nodes["missing_go_to_left"].astype(bool),
        weight=fitted.value[:, 0, 0].astype(np.float64),
    )


def _refuses(model: Any) -> Literal["non-finite", "infinite"]:
    """The elements that the estimator refuses, found by a trial: its support of NaN depends on its options."""
    try:
        model.predict(np.full((1, model.n_features_in_), np.nan))
    except ValueError:
        return "non-finite"
    return "infinite"


TREES: dict[type, Compiler] = {
    tree.DecisionTreeClassifier: _tree_classifier,
    tree.ExtraTreeClassifier: _tree_classifier,
    tree.DecisionTreeRegressor: _tree_regressor,
    tree.ExtraTreeRegressor: _tree_regressor,
    ensemble.RandomForestClassifier: _forest_classifier,
    ensemble.ExtraTreesClassifier: _forest_classifier,
    ensemble.RandomForestRegressor: _forest_regressor,
    ensemble.ExtraTreesRegressor: _forest_regressor,
    ensemble.GradientBoostingClassifier: _gradient_boosting,
    ensemble.GradientBoostingRegressor: _gradient_boosting,
    ensemble.HistGradientBoostingClassifier: _histogram_boosting,
    ensemble.HistGradientBoostingRegressor: _histogram_boosting,
}
