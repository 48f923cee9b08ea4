"""What is told of a model's performance in service; light, as the service itself imports it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class CalibrationRow(_Part):
    """The predictions whose class was given with a probability in this range."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean probability of the classes given."""
    right: float
    """Share of them that turned out right."""


class FeedbackDelay(_Part):
    """Time from a prediction to its feedback, in seconds."""

    median: float
    p90: float


class ModelPerformance(_Part):
    """One model version in the window."""

    model_version: str
    predictions: int
    with_feedback: int
    coverage: float
    """Share of the predictions that have feedback."""
    judged: int
    """Predictions that the metrics are of: all with feedback, or a sample where they are very many."""
    metrics: Mapping[str, float | None]
    """As training computes them, on the predictions that have feedback; null is undefined on them."""
    training_metrics: Mapping[str, float | None] | None
    """On training's held-out rows; null if the version is not in `artefacts.directory` any more."""
    calibration: tuple[CalibrationRow, ...]
    """By rising probability; empty without probabilities."""
    calibration_error: float | None
    """How far the probability given is from the share of right answers, on average."""
    feedback_delay_seconds: FeedbackDelay | None
    notes: tuple[str, ...]
    """What to know of these numbers."""


class Performance(_Part):
    """The models that answered in a window of time."""

    since: str
    until: str
    """When this was computed: ISO 8601, UTC."""
    models: tuple[ModelPerformance, ...]
