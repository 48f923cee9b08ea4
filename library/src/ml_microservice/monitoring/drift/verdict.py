"""The verdict of a drift report in words, and the names of its measures."""

from ml_microservice.errors import listed
from ml_microservice.monitoring.drift.result import Drift, DriftReport, Measure
from ml_microservice.pages.number_format import number, percent

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
"""Name and meaning of each measure."""
SHARES = frozenset({"missing", "unseen", "empty", "unknown_words", "word"})


def verdict(report: DriftReport, min_rows: int) -> str:
    """The verdict in one sentence."""
    if report.status == "too_few_rows":
        return (
            f"{_rows(report.rows)} in the window {'is' if report.rows == 1 else 'are'} too few: {min_rows} are needed."
        )
    compared = sum(drift.role == "feature" for drift in report.drifts)
    if report.status == "drift":
        drifted = [drift.name for drift in report.alarms if drift.role == "feature"]
        found = [f"{len(drifted)} of {compared} features ({listed(drifted)})"] if drifted else []
        found += [title(drift).lower() for drift in report.alarms if drift.role != "feature"]
        return f"Not as in training: {' and '.join(found)}."
    if report.status == "passing":
        passing = [drift.name for drift in report.drifts if drift.status == "passing" and not drift.ignored]
        return f"Something was not as in training, but not for long: {listed(passing)}."
    return f"All {compared} features that were compared, and the predictions, are as they were in training."


def title(drift: Drift) -> str:
    """The heading of a comparison."""
    return {"prediction": "The predictions", "confidence": "How sure the model is"}.get(drift.role, drift.name)


def measure_text(measure: Measure, value: float) -> str:
    """A measure's value or limit as text."""
    return percent(value) if measure.name in SHARES else f"{value:.2f}" if value < 100 else number(value)


def farthest_words(drift: Drift) -> str:
    """The measure that is largest in units of its limit: `PSI 0.4 of 0.26`."""
    farthest = max(drift.measures, key=lambda measure: measure.ratio, default=None)
    if farthest is None or farthest.limit is None:
        return ""
    value, limit = (measure_text(farthest, size) for size in (farthest.value, farthest.limit))
    return f"{MEASURES[farthest.name][0]} {value} of {limit}"


def _rows(count: int) -> str:
    return f"{count:,} prediction{'' if count == 1 else 's'}"
