"""The bars that the project has set itself, and how the measured medians stand to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.files import FORMATS, FileRun
from benchmarks.jobs import JobRun
from benchmarks.registry import SYSTEMS
from benchmarks.systems import Kind


@dataclass(frozen=True)
class Summary:
    """One system with one model: every round's values, of valid measurements only."""

    rates: Mapping[int, list[float]]
    """Requests per second by connections."""
    p50: Mapping[int, list[float]]
    p99: Mapping[int, list[float]]
    bulk: Mapping[str, list[float]]
    """Rows per second by form."""
    cold_start_s: list[float]
    memory_mib: list[float]


@dataclass(frozen=True)
class Bar:
    """One ratio with its bar."""

    model: str
    what: str
    against: str
    ratio: float | None
    """None where one of the two could not be measured."""
    bar: float
    sense: Literal["at least", "at most"]

    @property
    def passed(self) -> bool:
        """Whether the ratio is there, and on the right side."""
        if self.ratio is None:
            return False
        return self.ratio >= self.bar if self.sense == "at least" else self.ratio <= self.bar


Summaries = Mapping[str, Summary]
"""By system, for one model."""
PYTHON_ONLY = "python"
"""The model that cannot be compiled: of the bars, only the one against the naive service is meant for it."""


def bars(model: str, summaries: Summaries, asked: Collection[str]) -> list[Bar]:
    """All bars of a model against the systems that were asked for, measured or not."""
    if "ours" not in asked:
        return []
    rate, p50 = _at(lambda summary: summary.rates, 64), _at(lambda summary: summary.p50, 1)
    found: list[Bar] = []

    def more(what: str, other: str, value: Callable[[Summary], float | None], bar: float) -> None:
        if other in asked:
            ratio = _ratio(value, summaries.get("ours"), summaries.get(other))
            found.append(Bar(model, what, other, ratio, bar, "at least"))

    def less(what: str, other: str, value: Callable[[Summary], float | None], bar: float) -> None:
        if other in asked:
            ratio = _ratio(value, summaries.get("ours"), summaries.get(other))
            found.append(Bar(model, what, other, ratio, bar, "at most"))

    throughput, latency = "req/s, 64 connections", "p50, 1 connection"
    more(throughput, "naive", rate, 20 if model == PYTHON_ONLY else 100)
    if model != PYTHON_ONLY:
        less(latency, "naive", p50, 1 / 15)
        for name in _of_kind("peer"):
            more(throughput, name, rate, 10)
            less(latency, name, p50, 1 / 3)
        for name in _of_kind("engine"):
            more(throughput, name, rate, 4)
        more(throughput, "ours_unrecorded", rate, 0.85)
        more(throughput, "fastapi_empty", rate, 2)
        less(latency, "fastapi_empty", p50, 1)
        more(throughput, "noop", rate, 0.4)
        less(latency, "noop", p50, 3)
        less("cold start", "fastapi_empty", lambda summary: _median(summary.cold_start_s), 1.5)
        if "naive" in asked:
            found.append(Bar(model, "bulk rows/s, Arrow against JSON list", "naive", _arrow(summaries), 10, "at least"))
    return found


def file_bars(runs: Sequence[FileRun]) -> list[Bar]:
    """The bars of whole files, a process for each core as it comes, for models that can be compiled."""
    found = []
    for model in dict.fromkeys(one.model for one in runs if one.model != PYTHON_ONLY):
        for format in FORMATS:
            for other in ("pandas", "mlflow"):
                if any(one.system == other for one in runs) and any(one.system == "ours" for one in runs):
                    ours, theirs = (_file_rate(runs, model, format, name) for name in ("ours", other))
                    ratio = ours / theirs if ours and theirs else None
                    found.append(Bar(model, f"rows/s, {format} file", other, ratio, 5, "at least"))
    return found


def job_bars(runs: Sequence[JobRun]) -> list[Bar]:
    """The bars of jobs against the naive service with Celery, for ours on the same broker."""
    found = []
    for name in ("ours", "ours_postgresql"):
        theirs = [one for one in runs if one.system == "naive"]
        ours = [one for one in runs if one.system == name]
        for what in ("submitted", "finished") if ours and theirs else ():
            rates = [_median([r for one in some if (r := getattr(one, f"{what}_per_s"))]) for some in (ours, theirs)]
            ratio = rates[0] / rates[1] if rates[0] and rates[1] else None
            found.append(Bar(runs[0].model, f"jobs {what}/s, {name}", "naive Celery", ratio, 10, "at least"))
    return found


def _file_rate(runs: Sequence[FileRun], model: str, format: str, name: str) -> float | None:
    mine = [one for one in runs if (one.model, one.format, one.system) == (model, format, name)]
    return _median([one.rows_per_s for one in mine if one.rows_per_s])


def _arrow(summaries: Summaries) -> float | None:
    """Our rows per second as Arrow, in those of the naive service as a JSON list."""
    ours = _median(summaries["ours"].bulk.get("arrow", [])) if "ours" in summaries else None
    naive = _median(summaries["naive"].bulk.get("json", [])) if "naive" in summaries else None
    return ours / naive if ours and naive else None


def _ratio(value: Callable[[Summary], float | None], ours: Summary | None, theirs: Summary | None) -> float | None:
    mine, other = (value(summary) if summary else None for summary in (ours, theirs))
    return mine / other if mine and other else None


def _at(part: Callable[[Summary], Mapping[int, list[float]]], connections: int) -> Callable[[Summary], float | None]:
    return lambda summary: _median(part(summary).get(connections, []))


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def _of_kind(kind: Kind) -> list[str]:
    return [entry.name for entry in SYSTEMS if entry.kind == kind]
