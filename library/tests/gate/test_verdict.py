"""The gate judges an evaluation by the settings and writes `build/verdict.json`."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.cli import app
from ml_microservice.errors import ConfigError, GateError
from ml_microservice.gate.documents import (
    EVALUATION,
    VERDICT,
    Candidate,
    Champion,
    Check,
    Comparison,
    ModelIdentity,
    Verdict,
    read_document,
    write_document,
)
from ml_microservice.gate.verdict import gate, judge
from ml_microservice.settings import GateSettings, load_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINE = ModelIdentity(version="20260102-000000-aaaaaa", id="a", commit=None)
THEIRS = ModelIdentity(version="20260101-000000-bbbbbb", id="b", commit="c0ffee")
ABSENT = Champion(status="absent", why="There is none.")


def compared(**metrics: float | None) -> Champion:
    """A champion with these metrics."""
    return Champion(status="compared", why="It was.", model=THEIRS, metrics=metrics)


def comparison(champion: Champion = ABSENT, model: ModelIdentity = MINE, **metrics: float | None) -> Comparison:
    """An evaluation of a candidate with these metrics."""
    metrics = metrics or {"accuracy": 0.9, "log_loss": 0.3}
    return Comparison(
        project="houses",
        created_at=NOW,
        task="classification",
        headline=next(iter(metrics)),
        directions={name: "smaller" if name in ("log_loss", "mae") else "greater" for name in metrics},
        rows=24,
        data_sha256="d",
        seed=42,
        test_size=0.2,
        candidate=Candidate(model=model, metrics=metrics),
        champion=champion,
    )


def verdict(comparison: Comparison, **gate: Any) -> Verdict:
    """The verdict on it by these settings."""
    return judge(comparison, GateSettings(**gate), NOW)


def only_check(comparison: Comparison, **gate: Any) -> Check:
    """The one check of it."""
    (check,) = verdict(comparison, **gate).checks
    return check


@pytest.mark.parametrize(
    ("metric", "limit", "passed"),
    [
        ("accuracy", 0.89, True),
        ("accuracy", 0.9, True),
        ("accuracy", 0.91, False),
        ("log_loss", 0.31, True),
        ("log_loss", 0.3, True),
        ("log_loss", 0.29, False),
    ],
)
def test_a_score_has_to_be_at_least_its_threshold_and_a_loss_at_most(metric: str, limit: float, passed: bool) -> None:
    decided = verdict(comparison(), thresholds={metric: limit})
    assert (decided.passed, decided.checks[0].passed) == (passed, passed)
    assert f"at {'least' if metric == 'accuracy' else 'most'} {limit}" in decided.checks[0].sentence


@pytest.mark.parametrize("undefined", [None, math.nan, math.inf])
def test_a_metric_that_is_undefined_fails_its_threshold(undefined: float | None) -> None:
    check = only_check(comparison(accuracy=undefined), thresholds={"accuracy": -1})
    assert (check.passed, check.value) == (False, None)
    assert "accuracy is undefined on these rows" in check.sentence


def test_one_failure_among_many_checks_is_enough() -> None:
    decided = verdict(comparison(compared(accuracy=0.5)), thresholds={"accuracy": 0.5, "log_loss": 0.1})
    assert [check.passed for check in decided.checks] == [True, False, True]
    assert not decided.passed


@pytest.mark.parametrize(
    ("metric", "mine", "theirs", "passed"),
    [
        ("accuracy", 0.9, 0.8, True),
        ("accuracy", 0.9, 0.9, True),
        ("accuracy", 0.882, 0.9, True),
        ("accuracy", 0.881, 0.9, False),
        ("mae", 1.0, 2.0, True),
        ("mae", 2.0, 2.0, True),
        ("mae", 2.04, 2.0, True),
        ("mae", 2.05, 2.0, False),
        ("mae", 0.001, 0.0, False),
        ("r2", -0.51, -0.5, True),
        ("r2", -0.52, -0.5, False),
    ],
)
def test_a_model_may_be_worse_than_the_champion_by_the_tolerance(
    metric: str, mine: float, theirs: float, passed: bool
) -> None:
    decided = verdict(comparison(compared(**{metric: theirs}), MINE, **{metric: mine}), tolerance=0.02)
    assert decided.passed is passed
    assert (decided.checks[0].kind, decided.checks[0].name) == ("champion", f"champion.{metric}")


def test_without_tolerance_an_equal_model_passes_and_any_worse_one_does_not() -> None:
    assert verdict(comparison(compared(mae=2.0), mae=2.0), tolerance=0).passed
    assert not verdict(comparison(compared(mae=2.0), mae=2.0000001), tolerance=0).passed


def test_the_metric_of_the_comparison_can_be_chosen() -> None:
    champion = compared(accuracy=0.1, log_loss=0.1)
    assert verdict(comparison(champion)).passed
    check = only_check(comparison(champion), metric="log_loss")
    assert (check.passed, check.direction) == (False, "smaller")
    assert check.limit == pytest.approx(0.102)


def test_an_undefined_metric_does_not_beat_the_champion() -> None:
    assert not verdict(comparison(compared(accuracy=0.1), accuracy=None)).passed


def test_a_champion_that_lacks_the_metric_is_not_compared_with() -> None:
    decided = verdict(comparison(compared(accuracy=0.9)), metric="log_loss")
    assert (decided.passed, decided.checks, decided.champion.status) == (True, (), "not comparable")
    assert "no log_loss" in decided.champion.why


def test_thresholds_alone_decide_where_no_champion_can_be_compared() -> None:
    unlike = Champion(status="not comparable", why="Its classes are others.", model=THEIRS)
    for champion in (ABSENT, unlike):
        assert verdict(comparison(champion), thresholds={"accuracy": 0.9}).passed
        decided = verdict(comparison(champion), thresholds={"accuracy": 0.95})
        assert (decided.passed, decided.champion) == (False, champion)


def evaluated(project: Path, champion: Champion = ABSENT, **metrics: float | None) -> Path:
    """The trained project with an evaluation of its model."""
    current = str(ArtefactStore(project / "model_bin").current())
    model = ModelIdentity(version=current, id="a", commit=None)
    write_document(comparison(champion, model, **metrics), project / EVALUATION)
    return project


def with_gate(project: Path, text: str) -> Path:
    """The project with these settings."""
    with (project / "config.yaml").open("a") as config:
        config.write(f"gate: {text}\n")
    return project


def test_metrics_that_there_are_not_are_told_with_their_lines_and_with_those_that_there_are(project: Path) -> None:
    text = "\n  thresholds:\n    acuracy: 0.9\n    accuracy: 0.9\n  metric: mae"
    with pytest.raises(ConfigError) as refused:
        gate(load_settings(with_gate(evaluated(project), text), {}))
    first, second = refused.value.faults
    assert (first.file, first.line, first.advice) == ("config.yaml", 8, "did you mean 'accuracy'?")
    assert "gate.thresholds names 'acuracy'; this model is evaluated by accuracy, log_loss" in first.message
    assert (second.line, "gate.metric names 'mae'" in second.message) == (10, True)
    assert not (project / VERDICT).exists()


def test_thresholds_may_come_from_the_environment(project: Path) -> None:
    settings = load_settings(project, {"SERVICE__GATE__THRESHOLDS": "accuracy=0.9, log_loss=0.4"})
    assert settings.gate.thresholds == {"accuracy": 0.9, "log_loss": 0.4}
    with pytest.raises(ConfigError, match=r"SERVICE__GATE__THRESHOLDS.*|gate\.thresholds\.accuracy must be a number"):
        load_settings(project, {"SERVICE__GATE__THRESHOLDS": "accuracy"})


def test_there_is_no_verdict_without_an_evaluation_of_the_current_model(project: Path) -> None:
    settings = load_settings(project, {})
    write_document(verdict(comparison()), project / VERDICT)
    with pytest.raises(GateError, match="make evaluate"):
        gate(settings)
    assert not (project / VERDICT).exists()
    write_document(comparison(), project / EVALUATION)
    with pytest.raises(GateError, match=f"is of {MINE.version}, but the current model is"):
        gate(settings)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', "\0"])
def test_a_file_that_is_no_evaluation_is_refused(project: Path, content: str) -> None:
    (evaluated(project) / EVALUATION).write_text(content)
    with pytest.raises(GateError, match=r"evaluation\.json: not a file of format 1"):
        gate(load_settings(project, {}))


@pytest.mark.parametrize(("limit", "code"), [(0.9, 0), (0.95, 1)])
def test_the_command_writes_its_verdict_either_way_and_exits_by_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, limit: float, code: int
) -> None:
    with_gate(evaluated(project, compared(accuracy=0.9)), f"{{thresholds: {{accuracy: {limit}}}}}")
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["gate"])
    written = read_document(Verdict, project / VERDICT, advice="")
    assert (done.exit_code, written.passed) == (code, code == 0)
    if code:
        assert "accuracy is 0.9, not at least 0.95" in done.stderr
    assert [path.name for path in (project / "build").iterdir() if path.suffix == ".tmp"] == []


def test_a_verdict_says_what_was_judged_by_what_and_why(project: Path) -> None:
    with_gate(evaluated(project, compared(accuracy=0.95)), "{thresholds: {accuracy: 0.8}}")
    gate(load_settings(project, {}), clock=lambda: NOW)
    written = json.loads((project / VERDICT).read_text())
    assert written == {
        "format": 1,
        "project": "houses",
        "created_at": "2026-01-01T00:00:00Z",
        "passed": False,
        "rows": 24,
        "data_sha256": "d",
        "candidate": {"version": ArtefactStore(project / "model_bin").current(), "id": "a", "commit": None},
        "champion": {
            "status": "compared",
            "why": "It was.",
            "model": {"version": THEIRS.version, "id": "b", "commit": "c0ffee"},
            "metrics": {"accuracy": 0.95},
            "notes": [],
        },
        "checks": [
            {
                "name": "threshold.accuracy",
                "kind": "threshold",
                "metric": "accuracy",
                "value": 0.9,
                "limit": 0.8,
                "direction": "greater",
                "passed": True,
                "sentence": "accuracy is 0.9, at least 0.8.",
            },
            {
                "name": "champion.accuracy",
                "kind": "champion",
                "metric": "accuracy",
                "value": 0.9,
                "limit": pytest.approx(0.931),
                "direction": "greater",
                "passed": False,
                "sentence": "accuracy is 0.9, not at least 0.931. The champion's is 0.95, of which 0.02 is tolerated.",
            },
        ],
    }


def test_what_a_later_gate_adds_to_a_verdict_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    data = verdict(comparison(), thresholds={"accuracy": 0.9}).model_dump(mode="json")
    data["checks"].append({**data["checks"][0], "name": "slice.colour=red", "kind": "slice", "rows": 7})
    (tmp_path / "verdict.json").write_text(json.dumps({**data, "latency": {}}))
    assert [check.kind for check in read_document(Verdict, tmp_path / "verdict.json", advice="").checks] == [
        "threshold",
        "slice",
    ]
