"""The estimators that an engine may hold."""

from collections.abc import Callable, Mapping
from typing import Protocol

from service.inference.engine.bayes import GaussianBayes, Thresholded
from service.inference.engine.checks import Matrix
from service.inference.engine.heads import Answer, Head
from service.inference.engine.kd_tree import KdTree
from service.inference.engine.linear import Linear
from service.inference.engine.narrow import NarrowTrees
from service.inference.engine.native import LightGBMBooster, XGBoostBooster
from service.inference.engine.neighbours import Neighbours
from service.inference.engine.network import Network
from service.inference.engine.staged import Staged
from service.inference.engine.support_vectors import Kernel, SupportVectors
from service.inference.engine.trees import Trees


class Estimator(Protocol):
    """A fitted estimator in data."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """The function that answers rows of shape (rows, k); `files` holds what the estimator keeps outside.

        Raises:
            ImportError: the library that it needs is not installed.
        """
        ...


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
