"""Generated projects, looked at: what is in them, that it parses, and that the same answers give the same bytes."""

import fnmatch
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException

from bake import bake
from conftest import ANSWERS, STARTERS, run, tree, without_links

pytestmark = pytest.mark.t1
each = pytest.mark.parametrize("starter", STARTERS)
JINJA = re.compile(r"\{\{|\{%|\{#")
VENDOR = "vendor/ml-microservice"
STARTER_FOLDER = "library/src/ml_microservice/starters"
LINKED = ("src", "pyproject.toml", "README.md")
MOST_FILES = 120
MOST_LINES_OF_PYPROJECT = 80


def expected_files(template: Path, starter: str) -> dict[str, bytes]:
    """What a project is made of, before it is rendered."""
    library = tree(template / "library")
    linked = {f"{VENDOR}/{name}": content for name, content in library.items() if name.startswith(LINKED)}
    licence = {f"{VENDOR}/LICENSE": (template / "LICENSE").read_bytes()}
    project = tree(template / "{{cookiecutter.project_slug}}")
    return project | linked | licence | tree(template / STARTER_FOLDER / starter)


@each
def test_a_bake_has_the_files_that_it_should_have_and_no_others(
    starter: str, baked: Callable[[str], Path], template: Path
) -> None:
    assert set(tree(baked(starter))) == {*expected_files(template, starter), "ml-microservice.sha256"}


@each
def test_a_bake_is_small_beside_its_copy_of_the_machinery(starter: str, baked: Callable[[str], Path]) -> None:
    own = {name: content for name, content in tree(baked(starter)).items() if not name.startswith("vendor/")}
    assert len(own) <= MOST_FILES
    assert len(own["pyproject.toml"].splitlines()) <= MOST_LINES_OF_PYPROJECT
    python = {name for name in own if name.endswith(".py")}
    assert {name for name in python if not name.startswith(("src/model/", "tests/", "dockerfiles/"))} == set()


@each
def test_no_test_of_the_machinery_is_in_a_bake(starter: str, baked: Callable[[str], Path], template: Path) -> None:
    vendored = {name for name in tree(baked(starter)) if name.startswith("vendor/")}
    own = {f"tests/{name}" for name in tree(template / STARTER_FOLDER / starter / "tests")}
    own |= {f"tests/{name}" for name in tree(template / "{{cookiecutter.project_slug}}" / "tests")}
    assert {name for name in tree(baked(starter)) if name.startswith("tests/")} == own
    assert {name for name in vendored if "/tests/" in name and "/starters/" not in name} == set()


def test_git_keeps_every_file_of_a_bake_byte_for_byte(baked: Callable[[str], Path], tmp_path: Path) -> None:
    """No pattern of .gitignore is meant for a folder of the machinery, and no line end of it is converted."""
    project = Path(shutil.copytree(baked("penguins"), tmp_path / "project"))
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.excludesFile=/dev/null", "-c", "core.safecrlf=false"]
    for command in (["init", "--quiet"], ["add", "--all"], ["checkout-index", "--all", "--prefix=../out/"]):
        run([*git, *command], project)
    kept, made = tree(tmp_path / "out"), tree(baked("penguins"))
    assert set(kept) == set(made)
    assert [name for name in made if name.startswith("vendor/") and kept[name] != made[name]] == []


def test_no_project_is_made_of_a_template_that_has_lost_its_links(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = without_links(Path(shutil.copytree(template, tmp_path / "template", symlinks=True)))
    with pytest.raises(FailedHookException):
        bake(tmp_path / "out", template=broken, **ANSWERS)
    assert "vendor/ml-microservice/src did not arrive as a folder" in " ".join(capfd.readouterr().err.split())
    assert list((tmp_path / "out").iterdir()) == []


@each
def test_what_is_rendered_has_no_jinja_left_in_it(starter: str, baked: Callable[[str], Path], template: Path) -> None:
    unrendered = json.loads((template / "cookiecutter.json").read_text())["_copy_without_render"]
    for name, content in tree(baked(starter)).items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in unrendered):
            assert not JINJA.search(content.decode()), name


@each
def test_what_is_copied_unrendered_is_as_in_the_template(
    starter: str, baked: Callable[[str], Path], template: Path
) -> None:
    source = expected_files(template, starter)
    for name, content in tree(baked(starter)).items():
        if name.endswith(".py") or name.startswith("vendor/"):
            assert content == source[name], name


@each
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


@each
def test_two_bakes_with_the_same_answers_are_the_same(
    starter: str, baked: Callable[[str], Path], template: Path, tmp_path: Path
) -> None:
    again = bake(tmp_path, template=template, starter=starter, **ANSWERS)
    assert tree(again) == tree(baked(starter))


@each
def test_a_bake_is_clean_under_ruff(starter: str, baked: Callable[[str], Path]) -> None:
    for command in (["check"], ["format", "--check"]):
        run([sys.executable, "-m", "ruff", *command, "--no-cache", "."], baked(starter))


@pytest.mark.parametrize("starter", [starter for starter in STARTERS if starter != "blank"])
def test_ejecting_the_example_gives_the_blank_starter(
    starter: str, baked: Callable[[str], Path], template: Path, tmp_path: Path
) -> None:
    project = bake(tmp_path, template=template, starter=starter, **ANSWERS)
    eject = [sys.executable, "-m", "ml_microservice.cli", "eject-example"]
    run(eject, project, PYTHONPATH=f"{VENDOR}/src", PYTHONDONTWRITEBYTECODE="1")
    assert tree(project) == tree(baked("blank"))
