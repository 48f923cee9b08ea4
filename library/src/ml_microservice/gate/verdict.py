"""`ml-service gate`: the evaluation held against the settings."""

import math
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime

from ml_microservice.artefact.store import model_store
from ml_microservice.errors import ConfigError, Fault, GateError, did_you_mean, listed
from ml_microservice.gate.documents import (
    EVALUATION,
    VERDICT,
    Champion,
    Check,
    Comparison,
    Direction,
    Verdict,
    read_document,
    write_document,
)
from ml_microservice.settings import CONFIG_FILE, GateSettings, Settings
from ml_microservice.yaml_file import read_yaml


def gate(settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Verdict:
    """Judge `build/evaluation.json` and write `build/verdict.json`, whatever it is; what stood there goes first.

    Raises:
        GateError: there is no evaluation of the current model.
        ConfigError: `gate` names a metric that was not evaluated.
    """
    (settings.root / VERDICT).unlink(missing_ok=True)
    comparison = read_document(Comparison, settings.root / EVALUATION, advice="run 'make evaluate'")
    current = model_store(settings).current()
    if comparison.candidate.model.version != current:
        message = f"is of {comparison.candidate.model.version}, but the current model is {current}"
        raise GateError(Fault(message, str(EVALUATION), advice="run 'make evaluate'"))
    faults = list(unknown_metrics(settings, comparison.candidate.metrics))
    if faults:
        raise ConfigError(*faults)
    verdict = judge(comparison, settings.gate, clock())
    write_document(verdict, settings.root / VERDICT)
    return verdict


def judge(comparison: Comparison, gate: GateSettings, now: datetime) -> Verdict:
    """The verdict on an evaluation that has all metrics which `gate` names."""
    checks = list(_thresholds(comparison, gate))
    champion, check = _compared(comparison, gate)
    checks += [check] if check else []
    return Verdict(
        project=comparison.project,
        created_at=now,
        passed=all(check.passed for check in checks),
        rows=comparison.rows,
        data_sha256=comparison.data_sha256,
        candidate=comparison.candidate.model,
        champion=champion,
        checks=tuple(checks),
    )


def unknown_metrics(settings: Settings, known: Collection[str]) -> Iterator[Fault]:
    """One fault for each name in `gate` that is none of the metrics which are known."""
    document = read_yaml(settings.root / CONFIG_FILE, CONFIG_FILE)
    named: list[tuple[tuple[str, ...], str]] = [
        (("gate", "thresholds", name), name) for name in settings.gate.thresholds
    ]
    if settings.gate.metric is not None:
        named.append((("gate", "metric"), settings.gate.metric))
    for place, name in named:
        if name not in known:
            message = f"{place[0]}.{place[1]} names {name!r}; this model is evaluated by {listed(known)}"
            yield Fault(message, CONFIG_FILE, document.line(place), did_you_mean(name, known))


def _thresholds(comparison: Comparison, gate: GateSettings) -> Iterator[Check]:
    for metric, limit in gate.thresholds.items():
        value, direction = _finite(comparison.candidate.metrics[metric]), comparison.directions[metric]
        passed = value is not None and _holds(value, limit, direction)
        yield Check(
            name=f"threshold.{metric}",
            kind="threshold",
            metric=metric,
            value=value,
            limit=limit,
            direction=direction,
            passed=passed,
            sentence=_sentence(metric, value, limit, direction, passed),
        )


def _compared(comparison: Comparison, gate: GateSettings) -> tuple[Champion, Check | None]:
    """The champion as the verdict has it, and the check that compares with it, where that can be."""
    champion, metric = comparison.champion, gate.metric or comparison.headline
    if champion.status != "compared":
        return champion, None
    theirs, value = _finite(champion.metrics.get(metric)), _finite(comparison.candidate.metrics[metric])
    if theirs is None:
        why = f"It has no {metric} on these rows, by which gate.metric compares."
        return champion.model_copy(update={"status": "not comparable", "why": why}), None
    direction = comparison.directions[metric]
    slack = gate.tolerance * abs(theirs)
    limit = theirs - slack if direction == "greater" else theirs + slack
    passed = value is not None and _holds(value, limit, direction)
    sentence = _sentence(metric, value, limit, direction, passed)
    sentence += f" The champion's is {_number(theirs)}, of which {gate.tolerance:.3g} is tolerated."
    check = Check(
        name=f"champion.{metric}",
        kind="champion",
        metric=metric,
        value=value,
        limit=limit,
        direction=direction,
        passed=passed,
        sentence=sentence,
    )
    return champion, check


def _holds(value: float, limit: float, direction: Direction) -> bool:
    return value >= limit if direction == "greater" else value <= limit


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sentence(metric: str, value: float | None, limit: float, direction: Direction, passed: bool) -> str:
    bound = f"{'at least' if direction == 'greater' else 'at most'} {_number(limit)}"
    if value is None:
        return f"{metric} is undefined on these rows; it has to be {bound}."
    return f"{metric} is {_number(value)}, {'' if passed else 'not '}{bound}."


def _number(value: float) -> str:
    return f"{value:.6g}"
