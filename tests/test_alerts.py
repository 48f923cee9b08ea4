"""The alerts on records: Prometheus reads them, and they fire when they should and not otherwise."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import run

CASES = Path(__file__).with_name("records_alerts.test.yml")
RULES = "monitoring/alerts/records.yml"

pytestmark = [
    pytest.mark.t3,
    pytest.mark.skipif(
        not (shutil.which("promtool") or os.environ.get("CI")),
        reason="promtool is not installed: apt-get install prometheus",
    ),
]


def test_prometheus_takes_the_rules(baked: Callable[[str], Path]) -> None:
    output = run(["promtool", "check", "rules", RULES], baked("penguins"))
    assert "SUCCESS: 9 rules found" in output


def test_alerts_fire_when_they_should_and_not_otherwise(baked: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copy(baked("penguins") / RULES, tmp_path / "records.yml")
    rules = yaml.safe_load((tmp_path / "records.yml").read_text())["groups"][0]["rules"]
    # What an alert says is for people; which alert it is, and of what, is what is tested here.
    for rule in rules:
        assert len(rule.pop("annotations")["description"].split()) > 20, f"{rule['alert']} does not say what to do"
    (tmp_path / "records.yml").write_text(yaml.safe_dump({"groups": [{"name": "records", "rules": rules}]}))
    shutil.copy(CASES, tmp_path / "cases.yml")
    assert "SUCCESS" in run(["promtool", "test", "rules", "cases.yml"], tmp_path)
    fired = {
        check["alertname"]
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for check in case["alert_rule_test"]
        if check.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules}
