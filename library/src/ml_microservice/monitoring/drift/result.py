"""The result of a comparison, as `ml-service drift --json` and `GET /monitoring/drift` answer it."""

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
"""`passing`: a limit is exceeded in the window, but in too few of its parts."""


@dataclass(frozen=True)
class Measure:
    """An effect size, with its limit if it may raise an alarm."""

    name: MeasureName
    value: float
    noise: float | None = None
    """The value that chance alone rarely exceeds; None for a measure that raises no alarm."""
    limit: float | None = None
    """Sum of the setting and the noise. A measure beyond it raises an alarm."""
    parts: int = 0
    """Parts of the window with enough rows to be measured."""
    parts_beyond: int = 0
    """Parts in which the limit is exceeded too."""

    @property
    def ratio(self) -> float:
        """The value in units of its limit; 0 for a measure that raises no alarm."""
        return self.value / self.limit if self.limit else 0.0


@dataclass(frozen=True)
class HistogramPicture:
    """A histogram of training and window, as shares."""

    title: str
    edges: tuple[float, ...]
    """Edges of the bars, one more than bars; Unix times for datetimes."""
    reference: tuple[float, ...]
    window: tuple[float, ...]
    kind: Literal["histogram"] = "histogram"


@dataclass(frozen=True)
class BarsPicture:
    """Shares by name of training and window."""

    title: str
    names: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]
    kind: Literal["bars"] = "bars"


Picture = Annotated[HistogramPicture | BarsPicture, Field(discriminator="kind")]


@dataclass(frozen=True)
class Drift:
    """The comparison of a feature, the predictions or the confidence."""

    name: str
    role: Literal["feature", "prediction", "confidence"]
    type: str
    """The feature's type of `features.yaml`; otherwise `number` or `category`."""
    status: Status
    sentence: str
    """What was found, as a sentence."""
    rows: int
    """Rows that were compared, including those with a missing value."""
    missing: float
    """Share of rows with a missing value."""
    ignored: bool
    """Whether `monitoring.ignore` names the feature, so that it raises no alarm."""
    measures: tuple[Measure, ...]
    pictures: tuple[Picture, ...]

    @property
    def alarm(self) -> bool:
        """Whether this drift raises an alarm."""
        return self.status == "drift" and not self.ignored

    @property
    def severity(self) -> float:
        """The largest measure, in units of its limit."""
        return max((measure.ratio for measure in self.measures), default=0.0)

    def measure(self, name: MeasureName) -> Measure | None:
        """The measure of that name, if there is one."""
        return next((measure for measure in self.measures if measure.name == name), None)


@dataclass(frozen=True)
class DriftReport:
    """The comparison of a window of records with the reference."""

    project: str
    model_version: str
    since: datetime
    until: datetime
    recorded: int
    """Predictions in the window."""
    rows: int
    """Predictions that were compared, at most `monitoring.max_rows`."""
    status: Status
    level: float
    """Allowed probability of a false alarm of each measure."""
    drifts: tuple[Drift, ...]
    """The largest changes first."""
    not_compared: Mapping[str, str]
    """Reasons why features were not compared, by feature."""

    @property
    def alarms(self) -> tuple[Drift, ...]:
        """Drifts that raise an alarm, the largest first."""
        return tuple(drift for drift in self.drifts if drift.alarm)

    def to_bytes(self) -> bytes:
        """As JSON."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> "DriftReport":
        """The inverse of `to_bytes`."""
        return _ADAPTER.validate_json(content)


_ADAPTER = TypeAdapter(DriftReport)
