"""The starters as they stand: the same files with the same code around their examples, and data with a source."""

import re

import pytest

from bake import TEMPLATE
from conftest import STARTERS

pytestmark = pytest.mark.t1
TREE = TEMPLATE / "library/src/ml_microservice/starters"
BLOCK = re.compile(r"^ *# Example\n.*?^ *# End Example\n", re.DOTALL | re.MULTILINE)


def files(starter: str) -> dict[str, str]:
    """The starter's files without its data."""
    paths = [path for path in (TREE / starter).rglob("*") if path.suffix in (".py", ".yaml")]
    return {path.relative_to(TREE / starter).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize("starter", STARTERS)
def test_the_starters_differ_inside_of_their_example_blocks_only(starter: str) -> None:
    skeletons = {name: BLOCK.sub("# Example\n", text) for name, text in files(starter).items()}
    assert skeletons == {name: BLOCK.sub("# Example\n", text) for name, text in files("blank").items()}
    assert all(BLOCK.search(text) for name, text in files(starter).items() if not name.endswith("__init__.py"))


@pytest.mark.parametrize("starter", [starter for starter in STARTERS if starter != "blank"])
def test_the_data_names_its_source_and_licence_and_marks_itself_as_an_example(starter: str) -> None:
    data = TREE / starter / "src/model/data"
    readme = (data / "README.md").read_text(encoding="utf-8")
    named = readme.partition("\n")[0].removeprefix("<!-- Example data: ").removesuffix(" -->").split()
    assert sorted(named) == sorted(path.name for path in data.iterdir())
    assert "**Source**" in readme
    assert "**Licence**" in readme
