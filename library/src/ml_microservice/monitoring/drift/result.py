"""What a comparison of records with the reference found: what `ml-service drift --json` and the API answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

MeasureName = Literal[
    "psi",
    "kolmogorov_smirnov",
    "wasserstein",
    "cramers_v",
    "missing",
    "unseen",
    "empty",
    "unknown_words",
    "word",
    "mean",
]
Status = Literal["drift", "passing", "stable", "too_few_rows"]
"""`passing` is too far off in the window, but not in enough parts of it."""


@dataclass(frozen=True)
class Measure:
    """One effect size."""

    name: MeasureName
    value: float
    noise: float | None = None
    """What chance alone stays below; None for a measure that raises no alarm."""
    limit: float | None = None
    """The setting and the noise together: beyond it, the measure is too far off."""
    parts: int = 0
    """Parts of the window that could be measured alone."""
    parts_beyond: int = 0
    """Those of them that are too far off too."""

    @property
    def ratio(self) -> float:
        """The value in units of its limit; 0 for a measure that raises no alarm."""
        return self.value / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class HistogramPicture:
    """Shares of values between edges, in training and in the window."""

    title: str
    edges: tuple[float, ...]
    """One more than there are bars; seconds since 1970 for moments."""
    reference: tuple[float, ...]
    window: tuple[float, ...]
    kind: Literal["histogram"] = "histogram"


@dataclass(frozen=True)
class BarsPicture:
    """Shares by name, in training and in the window."""

    title: str
    names: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]
    kind: Literal["bars"] = "bars"


Picture = Annotated[HistogramPicture | BarsPicture, Field(discriminator="kind")]


@dataclass(frozen=True)
class Drift:
    """One thing that was compared: a feature, the predictions, or the confidence."""

    name: str
    role: Literal["feature", "prediction", "confidence"]
    type: str
    """A feature's, as in `features.yaml`; `number` or `category` otherwise."""
    status: Status
    sentence: str
    """What was found, in plain words."""
    rows: int
    """Rows that were compared, with those in which the value is missing."""
    missing: float
    """Share of these rows without a value."""
    ignored: bool
    """Whether `monitoring.ignore` names it: it raises no alarm then."""
    measures: tuple[Measure, ...]
    pictures: tuple[Picture, ...]

    @property
    def alarm(self) -> bool:
        """Whether it counts as drift of the whole."""
        return self.status == "drift" and not self.ignored

    @property
    def severity(self) -> float:
        """The farthest of its measures, in units of its limit."""
        return max((measure.ratio for measure in self.measures), default=0.0)

    def measure(self, name: MeasureName) -> Measure | None:
        """The measure of that name, if there is one."""
        return next((measure for measure in self.measures if measure.name == name), None)


@dataclass(frozen=True)
class DriftReport:
    """One window of records, compared."""

    project: str
    model_version: str
    since: datetime
    until: datetime
    recorded: int
    """Predictions in the window."""
    rows: int
    """Those of them that were compared, at most `monitoring.max_rows`."""
    status: Status
    level: float
    """Probability by chance that each single measure was given: the rate of false alarms, shared out among all."""
    drifts: tuple[Drift, ...]
    """The farthest off first."""
    not_compared: Mapping[str, str]
    """Features that were left out, and why."""

    @property
    def alarms(self) -> tuple[Drift, ...]:
        """What has drifted, the farthest off first."""
        return tuple(drift for drift in self.drifts if drift.alarm)

    def to_bytes(self) -> bytes:
        """As JSON."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> "DriftReport":
        """The inverse of `to_bytes`."""
        return _ADAPTER.validate_json(content)


_ADAPTER = TypeAdapter(DriftReport)
