"""`ml-service gate`: judges the evaluation by the settings in `gate`."""

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
    """Judge `build/evaluation.json` and write `build/verdict.json`; an earlier verdict is removed first.

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
    """Judge an evaluation that has every metric which `gate` names."""
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
    """One fault for each name in `gate` that is not a known metric."""
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
        yield _check("threshold", metric, limit, comparison)


def _compared(comparison: Comparison, gate: GateSettings) -> tuple[Champion, Check | None]:
    """The champion as the verdict shows it, and the check against it if it can be compared."""
    champion, metric = comparison.champion, gate.metric or comparison.headline
    if champion.status != "compared":
        return champion, None
    theirs = _finite(champion.metrics.get(metric))
    if theirs is None:
        why = f"It has no {metric} on these rows, by which gate.metric compares."
        return champion.model_copy(update={"status": "not comparable", "why": why}), None
    slack = gate.tolerance * abs(theirs)
    limit = theirs - slack if comparison.directions[metric] == "greater" else theirs + slack
    words = f" The champion's is {_number(theirs)}, of which {gate.tolerance:.3g} is tolerated."
    return champion, _check("champion", metric, limit, comparison, words)


def _check(kind: str, metric: str, limit: float, comparison: Comparison, words: str = "") -> Check:
    """Hold the candidate's metric against a limit; `words` end the sentence."""
    value, direction = _finite(comparison.candidate.metrics[metric]), comparison.directions[metric]
    passed = value is not None and _holds(value, limit, direction)
    return Check(
        name=f"{kind}.{metric}",
        kind=kind,
        metric=metric,
        value=value,
        limit=limit,
        direction=direction,
        passed=passed,
        sentence=_sentence(metric, value, limit, direction, passed) + words,
    )


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
