"""Generated projects, looked at: what is in them, that it parses, and that the same answers give the same bytes."""

import fnmatch
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bake import bake
from conftest import ANSWERS, STARTERS, run, tree

pytestmark = [pytest.mark.t1, pytest.mark.parametrize("starter", STARTERS)]
JINJA = re.compile(r"\{\{|\{%|\{#")


def test_a_bake_has_the_files_that_it_should_have_and_no_others(
    starter: str, baked: Callable[[str], Path], template: Path
) -> None:
    source = tree(template / "{{cookiecutter.project_slug}}")
    overlay = {name.split("/", 2)[2] for name in source if name.startswith(f"starters/{starter}/")}
    expected = {name for name in source if not name.startswith("starters/")} | overlay
    if starter != "blank":
        expected |= {name for name in source if name.startswith("starters/blank/")}
        expected |= {f"starters/{starter}/{name}" for name in overlay if "/data/" not in name}
    assert set(tree(baked(starter))) == expected


def test_what_is_rendered_has_no_jinja_left_in_it(starter: str, baked: Callable[[str], Path], template: Path) -> None:
    unrendered = json.loads((template / "cookiecutter.json").read_text())["_copy_without_render"]
    for name, content in tree(baked(starter)).items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in unrendered):
            assert not JINJA.search(content.decode()), name


def test_what_is_copied_unrendered_is_as_in_the_template(
    starter: str, baked: Callable[[str], Path], template: Path
) -> None:
    source = tree(template / "{{cookiecutter.project_slug}}")
    for name, content in tree(baked(starter)).items():
        if name.endswith(".py"):
            assert content == source.get(name, source.get(f"starters/{starter}/{name}")), name


def test_yaml_toml_and_json_can_be_parsed(starter: str, baked: Callable[[str], Path]) -> None:
    parsers: dict[str, Callable[[str], Any]] = {
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
        ".toml": tomllib.loads,
        ".json": json.loads,
    }
    documents = {
        name: parsers[Path(name).suffix](content.decode())
        for name, content in tree(baked(starter)).items()
        if Path(name).suffix in parsers and not name.startswith("helm/templates/")  # text that becomes YAML
    }
    assert documents["config.yaml"]["name"] == ANSWERS["project_slug"]
    assert documents["pyproject.toml"]["project"]["name"] == ANSWERS["project_slug"]


def test_two_bakes_with_the_same_answers_are_the_same(
    starter: str, baked: Callable[[str], Path], template: Path, tmp_path: Path
) -> None:
    again = bake(tmp_path, template=template, starter=starter, **ANSWERS)
    assert tree(again) == tree(baked(starter))


def test_a_bake_is_clean_under_ruff(starter: str, baked: Callable[[str], Path]) -> None:
    for command in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *command, "--no-cache", "."], baked(starter))


def test_ejecting_the_example_gives_the_blank_starter(
    starter: str, baked: Callable[[str], Path], template: Path, tmp_path: Path
) -> None:
    if starter == "blank":
        return
    project = bake(tmp_path, template=template, starter=starter, **ANSWERS)
    run(
        [sys.executable, "-m", "ml_microservice.cli", "eject-example"],
        project,
        PYTHONPATH="src",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert tree(project) == tree(baked("blank"))
