"""The result of a performance measurement. The service imports this module, so it needs no heavy library."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class CalibrationRow(_Part):
    """The predictions whose class had a probability in this range."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean probability of the predicted classes."""
    right: float
    """Share of the predictions that turned out right."""


class FeedbackDelay(_Part):
    """Time from a prediction to its feedback, in seconds."""

    median: float
    p90: float


class ModelPerformance(_Part):
    """The performance of one model version in the window."""

    model_version: str
    predictions: int
    with_feedback: int
    coverage: float
    """Share of the predictions that have feedback."""
    judged: int
    """Predictions that the metrics are computed from: all with feedback, or a sample if there are very many."""
    metrics: Mapping[str, float | None]
    """The metrics of training, computed on the predictions that have feedback; null where undefined."""
    training_metrics: Mapping[str, float | None] | None
    """Metrics on the held-out rows of training; null if the version is no longer in `artefacts.directory`."""
    calibration: tuple[CalibrationRow, ...]
    """Calibration by rising probability; empty if there are no probabilities."""
    calibration_error: float | None
    """Mean distance of the predicted probability from the share of right predictions."""
    feedback_delay_seconds: FeedbackDelay | None
    notes: tuple[str, ...]
    """Remarks on these numbers."""


class Performance(_Part):
    """The performance of all model versions that answered in a window of time."""

    since: str
    until: str
    """End of the window, the time of the computation: ISO 8601, UTC."""
    models: tuple[ModelPerformance, ...]
