"""The alerts: Prometheus reads them, and they fire when they should and not otherwise."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import run

ALERTS = ("records", "drift", "jobs", "service")

pytestmark = [
    pytest.mark.t3,
    pytest.mark.skipif(
        not (shutil.which("promtool") or os.environ.get("CI")),
        reason="promtool is not installed: apt-get install prometheus",
    ),
]


def test_all_rules_are_tested_here(baked: Callable[[str], Path]) -> None:
    assert {path.stem for path in (baked("penguins") / "monitoring/alerts").iterdir()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_fire_when_they_should_and_not_otherwise(
    baked: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = baked("penguins") / f"monitoring/alerts/{name}.yml"
    groups = yaml.safe_load(path.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]
    assert f"SUCCESS: {len(rules)} rules found" in run(["promtool", "check", "rules", str(path)], tmp_path)
    # What an alert says is for people; which alert it is, and of what, is what is tested here.
    for rule in alerts:
        assert len(rule.pop("annotations")["description"].split()) > 20, f"{rule['alert']} does not say what to do"
    (tmp_path / f"{name}.yml").write_text(yaml.safe_dump({"groups": groups}))
    cases = Path(__file__).with_name(f"{name}_alerts.test.yml")
    shutil.copy(cases, tmp_path / "cases.yml")
    assert "SUCCESS" in run(["promtool", "test", "rules", "cases.yml"], tmp_path)
    fired = {
        check["alertname"]
        for case in yaml.safe_load(cases.read_text())["tests"]
        for check in case["alert_rule_test"]
        if check.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in alerts}


def test_every_alert_names_its_entry_in_the_runbook_and_no_other_has_one(baked: Callable[[str], Path]) -> None:
    project = baked("penguins")
    texts = [path.read_text() for path in (project / "monitoring/alerts").iterdir()]
    alerts = {
        rule["alert"]: rule["annotations"]["runbook"]
        for text in texts
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    entries = re.findall(
        r"^### (\w+)\n\n\*(?:critical|warning)\.\* ", (project / "docs/runbook.md").read_text(), re.MULTILINE
    )
    assert alerts == {name: f"docs/runbook.md#{name.lower()}" for name in entries}
