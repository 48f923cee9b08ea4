"""Drift of the penguins: no alarm where nothing has changed; and Prometheus' rules for it."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bake import TEMPLATE
from conftest import run
from service.features.loading import load_features
from service.inference.predictor import Predictions
from service.monitoring.drift.comparing import Window, compare
from service.records.database.store import Window as Records
from service.settings import MonitoringSettings
from service.training.reference import make_reference

STARTER = TEMPLATE / "{{cookiecutter.project_slug}}/starters/penguins/src/model"
CASES = Path(__file__).with_name("drift_alerts.test.yml")
RULES = "monitoring/alerts/drift.yml"
WINDOWS = 200
START = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.t0
@pytest.mark.parametrize("rows", [100, 500])
def test_penguins_like_those_of_training_raise_no_alarm(rows: int) -> None:
    frame = pd.read_csv(STARTER / "data/penguins.csv")
    spec = load_features(STARTER / "features.yaml", "penguin_id").complete()
    assert spec is not None
    rng = np.random.default_rng(13)
    settings, window = MonitoringSettings(), Window("p", "v", START, START + timedelta(days=1))
    times = [(START + timedelta(seconds=60 * row)).isoformat() for row in range(rows)]
    alarms = 0
    held_out = frame.sample(frac=0.2, random_state=1)["species"].tolist()
    reference = make_reference(spec, frame, Predictions(held_out, None), seed=1)
    columns: dict[str, list[Any]] = {
        name: [None if pd.isna(value) else value for value in frame[name].tolist()] for name in spec.names
    }
    species = frame["species"].tolist()
    for _ in range(WINDOWS):
        chosen = rng.integers(0, len(frame), rows).tolist()
        inputs = {name: [values[row] for row in chosen] for name, values in columns.items()}
        records = Records(inputs, [species[row] for row in chosen], [None] * rows, times, rows)
        alarms += bool(compare(reference, records, window, settings).alarms)
    assert alarms <= settings.false_alarm_rate * WINDOWS


needs_promtool = pytest.mark.skipif(
    not (shutil.which("promtool") or os.environ.get("CI")),
    reason="promtool is not installed: apt-get install prometheus",
)


@pytest.mark.t3
@needs_promtool
def test_prometheus_takes_the_rules(baked: Callable[[str], Path]) -> None:
    assert "SUCCESS: 3 rules found" in run(["promtool", "check", "rules", RULES], baked("penguins"))


@pytest.mark.t3
@needs_promtool
def test_alerts_fire_when_they_should_and_not_otherwise(baked: Callable[[str], Path], tmp_path: Path) -> None:
    rules = yaml.safe_load((baked("penguins") / RULES).read_text())["groups"][0]["rules"]
    # What an alert says is for people; which alert it is, and of what, is what is tested here.
    for rule in rules:
        assert len(rule.pop("annotations")["description"].split()) > 20, f"{rule['alert']} does not say what to do"
    (tmp_path / "drift.yml").write_text(yaml.safe_dump({"groups": [{"name": "drift", "rules": rules}]}))
    shutil.copy(CASES, tmp_path / "cases.yml")
    assert "SUCCESS" in run(["promtool", "test", "rules", "cases.yml"], tmp_path)
