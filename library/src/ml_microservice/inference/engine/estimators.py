"""The estimators that an engine may hold."""

from ml_microservice.inference.engine.bayes import GaussianBayes, Thresholded
from ml_microservice.inference.engine.heads import Head
from ml_microservice.inference.engine.kd_tree import KdTree
from ml_microservice.inference.engine.linear import Linear
from ml_microservice.inference.engine.narrow import NarrowTrees
from ml_microservice.inference.engine.native import LightGBMBooster, XGBoostBooster
from ml_microservice.inference.engine.neighbours import Neighbours
from ml_microservice.inference.engine.network import Network
from ml_microservice.inference.engine.staged import Staged
from ml_microservice.inference.engine.support_vectors import Kernel, SupportVectors
from ml_microservice.inference.engine.trees import Trees

ESTIMATORS: tuple[type, ...] = (
    GaussianBayes,
    Head,
    KdTree,
    Kernel,
    LightGBMBooster,
    Linear,
    NarrowTrees,
    Neighbours,
    Network,
    Staged,
    SupportVectors,
    Thresholded,
    Trees,
    XGBoostBooster,
)
