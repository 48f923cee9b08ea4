"""The interface of the estimators in a compiled engine."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Estimates


class Estimator(Protocol):
    """A fitted estimator as data."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Estimates]:
        """The function that predicts rows of shape (rows, k); `files` are the artefact's, such as an ONNX graph.

        Raises:
            ImportError: the library that it needs is not installed.
        """
        ...


class SelfContained(ABC):
    """An estimator that needs no file: it is the function itself."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Estimates]:
        """See `Estimator`."""
        return self

    @abstractmethod
    def __call__(self, matrix: Matrix) -> Estimates:
        """Predict rows of shape (rows, k).

        Raises:
            ValueError: the Python object refuses these rows too.
        """
