"""Trees of any library as plain arrays, and as an ONNX graph with float64 thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LESS_OR_EQUAL, LESS = 0, 1
"""Values of `nodes_modes` in ai.onnx.ml TreeEnsemble: the true branch is taken if x <= split, or if x < split."""


@dataclass(frozen=True)
class Tree:
    """One binary tree; node 0 is its root."""

    feature: NDArray[np.int64]
    """The column that a node compares; -1 at a leaf."""
    threshold: NDArray[np.float64]
    true: NDArray[np.int64]
    """The next node if the comparison holds."""
    false: NDArray[np.int64]
    """The next node if it does not."""
    missing_true: NDArray[np.bool_]
    """Whether NaN takes the true branch."""
    weight: NDArray[np.float64]
    """The value that a leaf adds to the target."""
    target: int = 0
    """The output that the tree adds to."""

    @property
    def leaves(self) -> NDArray[np.intp]:
        """Positions of the leaves among the nodes."""
        return np.flatnonzero(self.feature < 0)


def graph(trees: Sequence[Tree], targets: int, mode: int = LESS_OR_EQUAL) -> bytes:
    """The ONNX model that sums the trees in float64, from an input `X` (rows, k) to an output `Y` (rows, targets).

    https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
    """
    table = _Table()
    for tree in trees:
        table.add(tree)
    attributes = table.attributes(mode)
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["Y"],
        domain="ai.onnx.ml",
        n_targets=targets,
        aggregate_function=1,
        post_transform=0,
        **cast(Any, attributes),
    )
    inputs = [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["rows", None])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.DOUBLE, ["rows", targets])]
    made = helper.make_graph([node], "trees", inputs, outputs)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=10, producer_name="service")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def thresholds(trees: Sequence[Tree]) -> dict[int, NDArray[np.float64]]:
    """Each column's distinct finite thresholds."""
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    found = {int(at): np.unique(threshold[feature == at]) for at in np.unique(feature) if at >= 0}
    return {at: values[np.isfinite(values)] for at, values in found.items()}


class _Table:
    """The nodes and leaves of all trees as flat lists, the form in which ONNX holds an ensemble."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[np.generic]]] = {
            name: []
            for name in (
                "features",
                "splits",
                "true",
                "false",
                "true_leaf",
                "false_leaf",
                "missing",
                "targets",
                "weights",
            )
        }
        self._nodes = self._leaves = 0
        self._roots: list[int] = []

    def add(self, tree: Tree) -> None:
        """Append a tree."""
        self._roots.append(self._nodes)
        leaves, inner = tree.leaves, np.flatnonzero(tree.feature >= 0)
        position = np.empty(len(tree.feature), dtype=np.int64)
        position[leaves] = self._leaves + np.arange(len(leaves))
        position[inner] = self._nodes + np.arange(len(inner))
        if len(inner):
            true, false = tree.true[inner], tree.false[inner]
            is_leaf = tree.feature < 0
            columns = (tree.feature[inner], tree.threshold[inner], position[true], position[false])
            flags = (is_leaf[true], is_leaf[false], tree.missing_true[inner])
        else:
            # ONNX needs at least one node for a tree: both of its branches lead to the only leaf.
            leaf = position[:1]
            columns = (np.zeros(1, np.int64), np.zeros(1), leaf, leaf)
            flags = (np.ones(1, np.bool_), np.ones(1, np.bool_), np.zeros(1, np.bool_))
        self._append(("features", "splits", "true", "false"), columns)
        self._append(("true_leaf", "false_leaf", "missing"), flags)
        self._append(("targets", "weights"), (np.full(len(leaves), tree.target, np.int64), tree.weight[leaves]))
        self._nodes += len(columns[0])
        self._leaves += len(leaves)

    def _append(self, names: Sequence[str], values: Sequence[NDArray[np.generic]]) -> None:
        for name, value in zip(names, values, strict=True):
            self._parts[name].append(value)

    def attributes(self, mode: int) -> dict[str, object]:
        """The attributes of the ONNX node."""
        flat = {name: np.concatenate(values) for name, values in self._parts.items()}
        modes = np.full(self._nodes, mode, np.uint8)
        return {
            "tree_roots": self._roots,
            "nodes_featureids": flat["features"].tolist(),
            "nodes_splits": numpy_helper.from_array(flat["splits"].astype(np.float64), "splits"),
            "nodes_modes": numpy_helper.from_array(modes, "modes"),
            "nodes_truenodeids": flat["true"].tolist(),
            "nodes_falsenodeids": flat["false"].tolist(),
            "nodes_trueleafs": flat["true_leaf"].astype(int).tolist(),
            "nodes_falseleafs": flat["false_leaf"].astype(int).tolist(),
            "nodes_missing_value_tracks_true": flat["missing"].astype(int).tolist(),
            "leaf_targetids": flat["targets"].tolist(),
            "leaf_weights": numpy_helper.from_array(flat["weights"].astype(np.float64), "weights"),
        }
