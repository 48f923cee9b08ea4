"""The evaluation report: one self-contained web page for people, and its summary in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from numpy.typing import NDArray

from ml_microservice.errors import listed
from ml_microservice.evaluation import METRICS, ClassificationDetails, Evaluation, Floats, Importance, Metric
from ml_microservice.pages.drawing import Plot
from ml_microservice.pages.number_format import number, percent
from ml_microservice.pages.templates import templates
from ml_microservice.training.feature_profile import FeatureProfile
from ml_microservice.training.plots import classification_plots, importance_plot, regression_plots

FEW_ROWS = 30
"""The report warns of fewer held-out rows."""
Tone = Literal["good", "caution", "bad"]


@dataclass(frozen=True)
class ReportContext:
    """The contents of the report."""

    title: str
    description: str
    version: str
    created_at: datetime
    """The time of training, with its zone; shown in UTC."""
    git_commit: str | None
    target: str
    evaluation: Evaluation
    truth: NDArray[Any]
    """Shape (n,): the true values of the held-out rows."""
    predicted: NDArray[Any]
    """Shape (n,): the predictions for the same rows."""
    probabilities: Floats | None
    """Shape (n, classes); None for regression, and for classifiers without probabilities."""
    importance: Sequence[Importance]
    """Measured by the headline metric, greatest first; empty if it was not measured."""
    profile: Sequence[FeatureProfile]
    split: str
    """How the rows were split, in one sentence."""
    seed: int
    golden_rows: int
    duration_seconds: float
    libraries: Mapping[str, str]
    """Versions by name."""


@dataclass(frozen=True)
class Report:
    """The two forms of the report."""

    html: str
    markdown: str


@dataclass(frozen=True)
class Verdict:
    """The evaluation in plain words."""

    tone: Tone
    badge: str
    sentence: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """One metric beside its baseline; the lengths of bars are from 0 to 1."""

    metric: Metric
    value: str
    baseline: str
    better: bool | None
    bar: float
    baseline_bar: float


def render_report(context: ReportContext) -> Report:
    """Render the report as HTML and as Markdown; the same context gives the same bytes."""
    view = {
        "context": context,
        "evaluation": context.evaluation,
        "created_at": context.created_at.astimezone(UTC),
        "verdict": judge(context.evaluation, context.target),
        "tiles": _tiles(context.evaluation),
    }
    page = _templates().get_template("report.html.j2").render(view, plots=_plots(context))
    summary = _templates(markdown=True).get_template("report.md.j2").render(view)
    return Report(page, summary)


def judge(evaluation: Evaluation, target: str) -> Verdict:
    """Put the evaluation in words for a person who decides whether to use the model."""
    metric = evaluation.headline
    tone: Tone
    if not evaluation.beats_baseline(metric.name):
        tone, badge = "bad", "No better than guessing"
    elif evaluation.n_test < FEW_ROWS or _may_be_chance(evaluation):
        tone, badge = "caution", "Better than guessing, but not certain"
    else:
        tone, badge = "good", "Better than guessing"
    value, baseline = evaluation.metrics[metric.name] or 0.0, evaluation.baseline[metric.name] or 0.0
    if isinstance(evaluation.details, ClassificationDetails):
        sentence = (
            f"The model gets “{target}” right for {_of_hundred(value, evaluation.n_test)} rows that it had not seen; "
            f"always guessing the most frequent answer, “{evaluation.details.most_frequent}”, gets "
            f"{_of_hundred(baseline, evaluation.n_test).partition(' of ')[0]} right."
        )
    else:
        sentence = (
            f"The model's prediction of “{target}” is off by {number(value)} on average, on {evaluation.n_test:,} "
            f"{'row' if evaluation.n_test == 1 else 'rows'} that it had not seen; always guessing the average, "
            f"{number(evaluation.details.train_mean)}, is off by {number(baseline)}."
        )
        if 0 < value < baseline:
            sentence += f" That is {100 * (1 - value / baseline):.0f}\N{NO-BREAK SPACE}% less error."
    return Verdict(tone, badge, sentence, _warnings(evaluation))


def _warnings(evaluation: Evaluation) -> tuple[str, ...]:
    metric, found = evaluation.headline, []
    value, baseline = (_shown(metric, scores[metric.name]) for scores in (evaluation.metrics, evaluation.baseline))
    if not evaluation.beats_baseline(metric.name):
        found.append(
            f"The model does not beat its baseline: {metric.title.lower()} {value}, against {baseline} for always "
            "giving the same answer. It should not go into service like this."
        )
    elif _may_be_chance(evaluation) and evaluation.headline_interval:
        low, high = (_shown(metric, end) for end in evaluation.headline_interval)
        found.append(
            f"The lead over the baseline may be chance: with this few rows, {metric.title.lower()} could be anything "
            f"from {low} to {high}, and the baseline has {baseline}."
        )
    if evaluation.n_test < FEW_ROWS:
        rows = "1 row was" if evaluation.n_test == 1 else f"{evaluation.n_test} rows were"
        found.append(f"Only {rows} held out. Every number here may look quite different on other rows.")
    others = [name for name in evaluation.metrics if name != metric.name and evaluation.beats_baseline(name) is False]
    if others:
        found.append(f"The model does not beat the baseline in {listed(METRICS[name].title for name in others)}.")
    if isinstance(evaluation.details, ClassificationDetails):
        unseen = [scores.name for scores in evaluation.details.per_class if not scores.support]
        missed = [scores.name for scores in evaluation.details.per_class if scores.recall == 0]
        if unseen:
            found.append(f"No held-out row is of the class {listed(unseen)}: nothing is known about it.")
        if missed:
            found.append(f"The model never finds the class {listed(missed)}.")
    if evaluation.metrics.get("accuracy") == 1 or (evaluation.metrics.get("r2") or 0) > 0.9999:
        found.append("There is no mistake at all. That is rare: make sure that no feature gives the target away.")
    return tuple(found)


def _may_be_chance(evaluation: Evaluation) -> bool:
    interval, baseline = evaluation.headline_interval, evaluation.baseline[evaluation.headline.name]
    return interval is not None and baseline is not None and interval[0] <= baseline <= interval[1]


def _tiles(evaluation: Evaluation) -> list[Tile]:
    tiles = []
    for metric in (METRICS[name] for name in METRICS if name in evaluation.metrics):
        value, baseline = evaluation.metrics[metric.name], evaluation.baseline[metric.name]
        scale = 1.0 if metric.greater_is_better else max(value or 0, baseline or 0) or 1.0
        tiles.append(
            Tile(
                metric=metric,
                value=_shown(metric, value),
                baseline=_shown(metric, baseline),
                better=evaluation.beats_baseline(metric.name),
                bar=min(1.0, max(0.0, (value or 0) / scale)),
                baseline_bar=min(1.0, max(0.0, (baseline or 0) / scale)),
            )
        )
    return tiles


def _plots(context: ReportContext) -> list[Plot]:
    details = context.evaluation.details
    if isinstance(details, ClassificationDetails):
        plots = classification_plots(details, context.truth, context.predicted, context.probabilities)
    else:
        plots = regression_plots(details, context.truth, context.predicted)
    if context.importance:
        plots.append(importance_plot(context.importance, context.evaluation.headline.name))
    return plots


def _templates(*, markdown: bool = False) -> Environment:
    environment = templates(Path(__file__).parent, markdown=markdown)
    environment.filters["shown"] = _shown
    return environment


def _of_hundred(share: float, rows: int) -> str:
    if rows <= 100:
        return f"{round(share * rows)} of {rows}"
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return "more than 99 of every 100"
    return "fewer than 1 of every 100" if rounded == 0 and share > 0 else f"{rounded} of every 100"


def _shown(metric: Metric, value: float | None) -> str:
    if value is None or abs(value) >= 10 or not metric.greater_is_better:
        return number(value)
    # Adding 0 makes a rounded -0 a plain 0.
    return percent(value) if metric.is_share else f"{round(value, 3) + 0.0:.3f}"
