"""The drift report: a self-contained web page, with the largest changes first."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Literal

from ml_microservice.monitoring.drift.plots import drift_plots
from ml_microservice.monitoring.drift.result import Drift, DriftReport, Measure
from ml_microservice.monitoring.drift.verdict import MEASURES, measure_text, title, verdict
from ml_microservice.pages.drawing import Plot
from ml_microservice.pages.templates import templates
from ml_microservice.settings import Settings

BADGES = {"drift": "Drift", "passing": "Not lasting", "stable": "As in training", "too_few_rows": "Too few rows"}
TONES = {"drift": "bad", "passing": "caution", "stable": "good", "too_few_rows": "caution"}


@dataclass(frozen=True)
class Gauge:
    """A measure against its limit."""

    title: str
    meaning: str
    value: str
    limit: str
    """Empty for a measure without a limit."""
    fill: float
    """Length of the bar from 0 to 1; the limit is at 0.5."""
    beyond: bool


@dataclass(frozen=True)
class Card:
    """The part of the page about one feature, the predictions or the confidence."""

    drift: Drift
    title: str
    badge: str
    tone: Literal["good", "caution", "bad"] | str
    gauges: tuple[Gauge, ...]
    plots: tuple[Plot, ...]


def render_drift_report(report: DriftReport, settings: Settings) -> str:
    """Render the page. It depends on the report and the settings only."""
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
