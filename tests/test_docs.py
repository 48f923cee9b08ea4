"""The documentation: its tables are those of the code, its links lead somewhere, and what it says to run exists."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from bake import TEMPLATE
from conftest import run

pytestmark = pytest.mark.t0

TREE = TEMPLATE / "{{cookiecutter.project_slug}}"
STARTERS = TEMPLATE / "library/src/ml_microservice/starters"
OF_TEMPLATE = [*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/**/*.md")]
OF_PROJECT = [TREE / "README.md", *TREE.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SCRIPT = """
import sys
from fastapi.testclient import TestClient
from ml_microservice.api.app import create_app
from ml_microservice.settings import load_settings
from ml_microservice.training.pipeline import train

train(load_settings())
client = TestClient(create_app())
for body in sys.argv[1:]:
    print(client.post("/predict", content=body).text)
"""
TARGET = re.compile(r"^([a-z][a-z-]*):.*## ", re.MULTILINE)

each = pytest.mark.parametrize(
    "document", [*OF_TEMPLATE, *OF_PROJECT], ids=lambda path: path.relative_to(TEMPLATE).as_posix()
)


def code(document: Path) -> list[str]:
    """What a document shows as code: the lines of its blocks and its inline spans."""
    text = document.read_text(encoding="utf-8")
    lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    return [*lines, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]


def commands(document: Path, program: str) -> list[list[str]]:
    """The words after a program wherever a document calls it, without comments and options."""
    called = [re.fullmatch(rf"(?:\.venv/bin/)?{program} ([^#]*).*", line.strip()) for line in code(document)]
    return [match[1].split() for match in called if match]


def command_paths(app: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The commands of an application of Typer and of the groups in it, each by its words."""
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    own = {(*path, name) for name in names}
    return own.union(*(command_paths(group.typer_instance, (*path, group.name)) for group in app.registered_groups))


def targets(makefile: Path) -> set[str]:
    return set(TARGET.findall(makefile.read_text(encoding="utf-8")))


def test_the_tables_say_what_the_code_says() -> None:
    run([sys.executable, "scripts/render_docs.py", "--check"], TEMPLATE)


def test_both_sides_have_the_same_tables() -> None:
    block = re.compile(r"<!-- generated: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
    ours = dict(block.findall((TEMPLATE / "docs/contract.md").read_text(encoding="utf-8")))
    theirs = dict(block.findall("".join(path.read_text(encoding="utf-8") for path in OF_PROJECT)))
    assert ours == {name: theirs[name] for name in ("features", "config")}


@each
def test_every_link_and_every_picture_is_there(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    links = [inline or html for inline, html in LINK.findall(text)]
    local = [link.partition("#")[0] for link in links if not link.startswith(("http:", "https:", "mailto:", "#"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


@each
def test_lines_can_be_read_without_scrolling(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@each
def test_every_make_target_exists(document: Path) -> None:
    known = targets(TREE / "Makefile") | (targets(TEMPLATE / "Makefile") if document in OF_TEMPLATE else set())
    named = {word for words in commands(document, "make") for word in words if re.fullmatch("[a-z][a-z-]*", word)}
    assert named <= known


@each
def test_every_service_command_exists(document: Path) -> None:
    from ml_microservice.cli import app

    known = command_paths(app)
    lengths = range(max(map(len, known)), 0, -1)
    for words in commands(document, "ml-service"):
        is_known = any(tuple(words[:length]) in known for length in lengths)
        assert is_known or words in ([], ["..."]), f"there is no `ml-service {' '.join(words)}`"


def test_the_example_of_the_readme_answers_what_is_shown(tmp_path: Path) -> None:
    text = (TEMPLATE / "README.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"^```\w+\n# (src/\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    shutil.copytree(STARTERS / "penguins/src/model/data", tmp_path / "src/model/data")
    (tmp_path / "src/model/__init__.py").touch()
    (tmp_path / "config.yaml").write_text("name: penguins\nid_name: penguin_id\n", encoding="utf-8")
    sent = re.findall(r"^  -d '(.*)'$", text, re.MULTILINE)
    shown = [json.loads(block) for language, block in FENCE.findall(text) if language == "json"]

    output = run([sys.executable, "-c", SCRIPT, *sent], tmp_path)

    prediction, problem = map(json.loads, output.splitlines()[-2:])
    assert list(prediction) == list(shown[0])
    assert prediction["prediction"] == shown[0]["prediction"]
    assert prediction["probabilities"] == pytest.approx(shown[0]["probabilities"], abs=1e-3)
    assert problem == shown[1]
