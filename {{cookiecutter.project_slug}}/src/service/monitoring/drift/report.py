"""The drift report: one self-contained web page, the farthest off first."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Literal

from service.errors import listed
from service.monitoring.drift.plots import drift_plots
from service.monitoring.drift.result import Drift, DriftReport, Measure
from service.pages.drawing import Plot
from service.pages.templates import templates
from service.pages.wording import number, percent
from service.settings import Settings

BADGES = {"drift": "Drift", "passing": "Not lasting", "stable": "As in training", "too_few_rows": "Too few rows"}
TONES = {"drift": "bad", "passing": "caution", "stable": "good", "too_few_rows": "caution"}
MEASURES = {
    "psi": ("PSI", "how much the distribution has changed, over bins that held equal shares in training"),
    "kolmogorov_smirnov": ("KS distance", "the largest distance of the distribution functions"),
    "wasserstein": ("Wasserstein", "how far values moved on average, in standard deviations of training"),
    "cramers_v": ("Cramér's V", "how different the shares are, from 0 to 1"),
    "missing": ("missing", "change of the share of missing values"),
    "unseen": ("unseen", "share of values that training had none like"),
    "empty": ("empty", "change of the share of empty texts"),
    "unknown_words": ("unknown words", "change of the share of words that were not frequent in training"),
    "word": ("one word", "the largest change of the share of texts that have a certain word"),
    "mean": ("one element", "the largest change of an element's mean, in standard deviations of training"),
}
"""What the measures are called, and what they say."""
SHARES = frozenset({"missing", "unseen", "empty", "unknown_words", "word"})


@dataclass(frozen=True)
class Gauge:
    """A measure against its limit."""

    title: str
    meaning: str
    value: str
    limit: str
    """Empty where there is none."""
    fill: float
    """From 0 to 1, of which a half is the limit."""
    beyond: bool


@dataclass(frozen=True)
class Card:
    """All about one thing that was compared."""

    drift: Drift
    title: str
    badge: str
    tone: Literal["good", "caution", "bad"] | str
    gauges: tuple[Gauge, ...]
    plots: tuple[Plot, ...]


def render_drift_report(report: DriftReport, settings: Settings) -> str:
    """The page; the same report gives the same bytes."""
    view = {
        "report": report,
        "title": settings.title or settings.name,
        "since": report.since.astimezone(UTC),
        "until": report.until.astimezone(UTC),
        "badge": BADGES[report.status],
        "tone": TONES[report.status],
        "sentence": verdict(report, settings.monitoring.min_rows),
        "cards": [_card(drift) for drift in report.drifts],
        "settings": settings.monitoring,
    }
    return templates(Path(__file__).parent).get_template("drift.html.j2").render(view)


def verdict(report: DriftReport, min_rows: int) -> str:
    """What was found, in one or two sentences."""
    if report.status == "too_few_rows":
        return (
            f"{_rows(report.rows)} in the window {'is' if report.rows == 1 else 'are'} too few: {min_rows} are needed."
        )
    compared = sum(drift.role == "feature" for drift in report.drifts)
    if report.status == "drift":
        drifted = [drift.name for drift in report.alarms if drift.role == "feature"]
        found = [f"{len(drifted)} of {compared} features ({listed(drifted)})"] if drifted else []
        found += [title(drift).lower() for drift in report.alarms if drift.role != "feature"]
        return f"Not as in training: {', '.join(found)}."
    if report.status == "passing":
        passing = [drift.name for drift in report.drifts if drift.status == "passing" and not drift.ignored]
        return f"Something was not as in training, but not for long: {listed(passing)}."
    return f"All {compared} features that were compared, and the predictions, are as they were in training."


def title(drift: Drift) -> str:
    """What a card is called."""
    return {"prediction": "The predictions", "confidence": "How sure the model is"}.get(drift.role, drift.name)


def measure_text(measure: Measure, value: float) -> str:
    """A value of a measure, or its limit, as people read it."""
    return percent(value) if measure.name in SHARES else f"{value:.2f}" if value < 100 else number(value)


def _card(drift: Drift) -> Card:
    badge, tone = BADGES[drift.status], TONES[drift.status]
    if drift.ignored:
        badge, tone = "Ignored", "good" if drift.status == "stable" else "caution"
    gauges = sorted((_gauge(measure) for measure in drift.measures), key=lambda gauge: not gauge.limit)
    return Card(drift, title(drift), badge, tone, tuple(gauges), tuple(drift_plots(drift)))


def _gauge(measure: Measure) -> Gauge:
    name, meaning = MEASURES[measure.name]
    return Gauge(
        title=name,
        meaning=meaning,
        value=measure_text(measure, measure.value),
        limit="" if measure.limit is None else measure_text(measure, measure.limit),
        fill=min(1.0, measure.ratio / 2),
        beyond=measure.ratio > 1,
    )


def _rows(count: int) -> str:
    return f"{count:,} prediction{'' if count == 1 else 's'}"
