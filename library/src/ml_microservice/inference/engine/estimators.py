"""The types of estimators that a compiled engine can hold."""

from ml_microservice.inference.engine.bayes import GaussianBayes, Thresholded
from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.linear import Linear
from ml_microservice.inference.engine.narrow import NarrowTrees
from ml_microservice.inference.engine.network import Network
from ml_microservice.inference.engine.staged import Staged
from ml_microservice.inference.engine.trees import Trees

ESTIMATORS: tuple[type, ...] = (
    GaussianBayes,
    Head,
    Linear,
    NarrowTrees,
    Network,
    Staged,
    Thresholded,
    Trees,
)
