"""Settings of monitoring."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ml_microservice.settings.section import Section


class MonitoringSettings(Section):
    """How recorded predictions are monitored: their accuracy, and their drift since training."""

    refresh_seconds: int = Field(300, ge=10)
    """Age at which the results below `/monitoring`, which are also metrics, are computed again."""
    window_hours: float = Field(24, gt=0)
    """Length of the window: only predictions that are not older are looked at."""
    directory: Path = Path("var/monitoring")
    """Folder of the latest results, relative to the project; all worker processes read it."""
    max_rows: int = Field(20_000, ge=1000)
    """Most predictions of a window that are compared with training."""
    min_rows: int = Field(100, ge=50)
    """Fewest predictions in a window for a verdict on drift."""
    parts: int = Field(3, ge=1, le=24)
    """Number of equally long parts that a window is divided into, to tell lasting changes from passing ones."""
    persistent_parts: int = Field(2, ge=1, le=24)
    """Number of parts in which a drift has to show before it raises an alarm."""
    false_alarm_rate: float = Field(0.01, gt=0, le=0.5)
    """Share of windows without any drift that may raise an alarm; all limits are set so that together they stay below
    it."""
    psi: float = Field(0.2, gt=0)
    """Population stability index from which a change counts as drift. The noise of a small sample is added to this
    limit, and to the limits below."""
    missing: float = Field(0.05, gt=0, lt=1)
    """Change in the share of missing values, or of empty texts, that counts as drift."""
    unseen: float = Field(0.01, gt=0, lt=1)
    """Share of values unlike any in training (a new category, a number out of range) that counts as drift."""
    words: float = Field(0.15, gt=0, lt=1)
    """Change in the share of unknown words, or of texts that contain a certain word, that counts as drift."""
    shift: float = Field(0.5, gt=0)
    """Change in the mean of a vector's element, in standard deviations, that counts as drift."""
    ignore: tuple[str, ...] = ()
    """Features that raise no alarm, such as the date of the request, which always differs from training."""

    @model_validator(mode="after")
    def _enough_parts(self) -> Self:
        if self.persistent_parts > self.parts:
            raise ValueError(f"persistent_parts ({self.persistent_parts}) is more than parts ({self.parts})")
        return self
