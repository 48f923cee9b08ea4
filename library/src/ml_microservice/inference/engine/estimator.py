"""What an estimator of an engine is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Answer


class Estimator(Protocol):
    """A fitted estimator in data."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """The function that answers rows of shape (rows, k); `files` holds what the estimator keeps outside.

        Raises:
            ImportError: the library that it needs is not installed.
        """
        ...


class SelfContained(ABC):
    """An estimator that keeps nothing outside, and is that function itself."""

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """See `Estimator`."""
        return self

    @abstractmethod
    def __call__(self, matrix: Matrix) -> Answer:
        """The answer to rows of shape (rows, k).

        Raises:
            ValueError: what the Python object refuses too.
        """
