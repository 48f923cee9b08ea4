"""The result of an evaluation, as reports and documents show it."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ml_microservice.evaluation.calibration import CalibrationBin, calibration_error
from ml_microservice.evaluation.metrics import HEADLINE, METRICS, Metric
from ml_microservice.evaluation.scores import Scores
from ml_microservice.features.spec import Task


@dataclass(frozen=True)
class ClassScores:
    """One class in the held-out rows; a score that would divide by zero is None."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class ClassificationDetails:
    """What the report shows of a classifier."""

    classes: tuple[str, ...]
    most_frequent: str
    """The class that the baseline always answers."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows by true class (outer) and predicted class (inner)."""
    per_class: tuple[ClassScores, ...]
    calibration: tuple[CalibrationBin, ...]
    """The bins that have rows, by rising probability; none without probabilities."""

    @property
    def calibration_error(self) -> float | None:
        """The calibration error of these bins; None without any."""
        return calibration_error(self.calibration)


@dataclass(frozen=True)
class RegressionDetails:
    """What the report shows of a regressor; a residual is the true value minus the predicted one."""

    train_mean: float
    """The value that the baseline always answers."""
    residual_quantiles: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on the held-out rows."""

    task: Task
    n_train: int
    n_test: int
    metrics: Scores
    baseline: Scores
    """The same metrics of a model that ignores the features."""
    headline_interval: tuple[float, float] | None
    """95 % confidence interval of the headline metric; None where there are too few rows for one."""
    details: ClassificationDetails | RegressionDetails

    @property
    def headline(self) -> Metric:
        """The metric that the model is introduced with."""
        return METRICS[HEADLINE[self.task]]

    def beats_baseline(self, metric: str) -> bool | None:
        """Whether the model is strictly better than the baseline; None where either is undefined."""
        value, baseline = self.metrics.get(metric), self.baseline.get(metric)
        return None if value is None or baseline is None else METRICS[metric].better(value, baseline)

    def as_json(self) -> dict[str, Any]:
        """The evaluation as plain JSON data; undefined values are null."""
        data: dict[str, Any] = _plain(asdict(self))
        return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
