"""The template's tree as it stands: its Python has no Jinja in it, so that tools can read it before any bake."""

import os
import re
import sys

import pytest

from bake import TEMPLATE
from conftest import STARTERS, run

pytestmark = pytest.mark.t1
TREE = TEMPLATE / "{{cookiecutter.project_slug}}"
BLOCK = re.compile(r"^ *# Example\n.*?^ *# End Example\n", re.DOTALL | re.MULTILINE)


def files(starter: str) -> dict[str, str]:
    """The starter's files without its data."""
    folder = TREE / "starters" / starter
    paths = [path for path in folder.rglob("*") if path.suffix in (".py", ".yaml")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize("starter", [starter for starter in STARTERS if starter != "penguins"])
def test_a_starter_is_clean_under_mypy(starter: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The machinery and the penguins are seen to be by the lint of their project."""
    folder = f"starters/{starter}"
    cache = tmp_path_factory.getbasetemp() / "mypy"
    command = [sys.executable, "-m", "mypy", f"--cache-dir={cache}", f"{folder}/src", f"{folder}/tests"]
    run(command, TREE, MYPYPATH=os.pathsep.join(["src", f"{folder}/src", folder]))


@pytest.mark.parametrize("starter", STARTERS)
def test_the_starters_differ_inside_of_their_example_blocks_only(starter: str) -> None:
    skeletons = {name: BLOCK.sub("# Example\n", text) for name, text in files(starter).items()}
    assert skeletons == {name: BLOCK.sub("# Example\n", text) for name, text in files("blank").items()}
    assert all(BLOCK.search(text) for name, text in files(starter).items() if not name.endswith("__init__.py"))


@pytest.mark.parametrize("starter", [starter for starter in STARTERS if starter != "blank"])
def test_the_data_names_its_source_and_licence_and_marks_itself_as_an_example(starter: str) -> None:
    data = TREE / "starters" / starter / "src/model/data"
    readme = (data / "README.md").read_text(encoding="utf-8")
    named = readme.partition("\n")[0].removeprefix("<!-- Example data: ").removesuffix(" -->").split()
    assert sorted(named) == sorted(path.name for path in data.iterdir())
    assert "**Source**" in readme
    assert "**Licence**" in readme
