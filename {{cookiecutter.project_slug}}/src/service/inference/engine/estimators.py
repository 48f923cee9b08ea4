"""The estimators that an engine may hold."""

from service.inference.engine.bayes import GaussianBayes, Thresholded
from service.inference.engine.heads import Head
from service.inference.engine.kd_tree import KdTree
from service.inference.engine.linear import Linear
from service.inference.engine.narrow import NarrowTrees
from service.inference.engine.native import LightGBMBooster, XGBoostBooster
from service.inference.engine.neighbours import Neighbours
from service.inference.engine.network import Network
from service.inference.engine.staged import Staged
from service.inference.engine.support_vectors import Kernel, SupportVectors
from service.inference.engine.trees import Trees

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
