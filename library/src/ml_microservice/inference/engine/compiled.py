"""The compiled predictor: it predicts by stages that training has proved equal to the Python objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.errors import ArtefactError, Fault
from ml_microservice.features.columns import Columns
from ml_microservice.inference.engine.checks import Matrix, is_finite
from ml_microservice.inference.engine.codec import Codec
from ml_microservice.inference.engine.estimator import Estimator
from ml_microservice.inference.engine.estimators import ESTIMATORS
from ml_microservice.inference.engine.heads import Estimates
from ml_microservice.inference.engine.program import PROGRAM, Program
from ml_microservice.inference.outputs import numbers, probability_matrix
from ml_microservice.inference.predictor import Predictions, PythonPredictor

ENGINE_FILE, ARRAYS_FILE = "engine.json", "engine.npz"


@dataclass(frozen=True)
class Engine:
    """The two stages of a compiled predictor; a stage that is None is the user's Python object."""

    program: Program | None
    estimator: Estimator | None
    order: NDArray[np.intp] | None
    """Position in the schema's classes of each class of the model; None for regression."""


CODEC = Codec((Engine, *PROGRAM, *ESTIMATORS))

Transform = Callable[[Columns], Any]
Estimation = Callable[[Any], Estimates]


class CompiledPredictor:
    """Predicts rows by compiled stages; thread-safe."""

    def __init__(
        self, transform: Transform, estimate: Estimation, classes: Sequence[str], order: Sequence[int]
    ) -> None:
        self.transform = transform
        """Makes the estimator's matrix from columns."""
        self.estimate = estimate
        """Predicts the rows of that matrix; its classes are in the estimator's order."""
        self._classes = len(classes)
        self._names = [classes[position] for position in order]
        in_order = list(order) == list(range(len(classes)))
        self._order = None if in_order else np.asarray(order, dtype=np.intp)
        self._columns = np.argsort(order)

    @classmethod
    def of(
        cls, engine: Engine, schema: ModelSchema, files: Mapping[str, bytes], python: Callable[[], PythonPredictor]
    ) -> "CompiledPredictor":
        """The predictor of an engine; `python` loads the user's objects and is called only if a stage needs them.

        Raises:
            ImportError: a library that the engine needs is not installed.
        """
        order = engine.order.tolist() if engine.order is not None else []
        if engine.program is not None and engine.estimator is not None:
            return cls(engine.program, engine.estimator.bound(files), schema.classes, order)
        objects = python()
        if engine.estimator is None:
            return cls(engine.program or objects.transform, python_estimation(objects), schema.classes, order)
        return cls(_to_matrix(objects), engine.estimator.bound(files), schema.classes, order)

    @classmethod
    def load(
        cls, files: Mapping[str, bytes], schema: ModelSchema, python: Callable[[], PythonPredictor]
    ) -> "CompiledPredictor":
        """The predictor of a stored engine.

        Raises:
            ArtefactError: the files hold no engine of this version.
            ImportError: a library that the engine needs is not installed.
        """
        try:
            engine = CODEC.load(files[ENGINE_FILE], files[ARRAYS_FILE])
            if not isinstance(engine, Engine):
                raise ValueError(f"not an engine but {type(engine).__name__}")
            return cls.of(engine, schema, files, python)
        except KeyError as missing:
            message = f"cannot be loaded: there is no file {missing}"
        except (ValueError, RuntimeError) as error:
            message = f"cannot be loaded: {error}"
        raise ArtefactError(Fault(message, file=ENGINE_FILE, advice="train again"))

    def predict(self, columns: Columns) -> Predictions:
        """See `Predictor.predict`.

        Raises:
            ValueError: the Python objects would refuse these values.
            HookError: the Python objects would return something that is no prediction.
        """
        estimates = self.estimate(self.transform(columns))
        if not self._classes:
            values = estimates.values.astype(np.float64, copy=False)
            return Predictions((values if is_finite(values) else numbers(values, len(values))).tolist(), None)
        probabilities = estimates.probabilities
        if probabilities is not None:
            if not is_finite(probabilities):
                probability_matrix(probabilities, len(probabilities), self._classes)
            if self._order is not None:
                probabilities = probabilities[:, self._columns]
        names = self._names
        return Predictions([names[position] for position in estimates.values.tolist()], probabilities)

    def in_schema_order(self, estimates: Estimates) -> Estimates:
        """The estimates with their classes in the order of the schema's."""
        if self._order is None:
            return estimates
        probabilities = None if estimates.probabilities is None else estimates.probabilities[:, self._columns]
        return Estimates(self._order[estimates.values], probabilities)


def python_estimation(python: PythonPredictor) -> Estimation:
    """The user's model as the last stage of an engine; its classes are in the order of the schema's."""
    return lambda transformed: Estimates(*python.estimate(transformed))


def _to_matrix(python: PythonPredictor) -> Transform:
    """The user's Preprocessor as the first stage of an engine whose estimator is compiled."""
    return lambda columns: dense(python.transform(columns))


def dense(matrix: Any) -> Matrix:
    """What a Preprocessor returned as a float64 matrix, shape (rows, k)."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)
