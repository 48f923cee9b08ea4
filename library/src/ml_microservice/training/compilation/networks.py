"""Compiler of scikit-learn's multi-layer perceptrons."""

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.network import Network
from ml_microservice.training.compilation.compiled_estimator import CompiledEstimator, Compiler
from ml_microservice.training.compilation.refusal import Refusal

HEADS = {
    "identity": Head("value"),
    "exp": Head("exp"),
    "logistic": Head("sigmoid", by_probability=True),
    "softmax": Head("softmax", by_probability=True),
}


def _network(model: Any) -> CompiledEstimator:
    name, last = type(model).__name__, model.out_activation_
    outputs = len(model.classes_) if last == "softmax" else 1
    if model.n_outputs_ != outputs or last not in HEADS:
        raise Refusal(f"{name} has {model.n_outputs_} outputs and the activation {last!r}")
    if any(part.dtype != np.float64 for part in (*model.coefs_, *model.intercepts_)):
        raise Refusal(f"{name} computes in float32, because it was fitted on a float32 matrix")
    network = Network(tuple(model.coefs_), tuple(model.intercepts_), model.activation, HEADS[last])
    return CompiledEstimator(network)


NETWORKS: dict[type, Compiler] = {MLPClassifier: _network, MLPRegressor: _network}
