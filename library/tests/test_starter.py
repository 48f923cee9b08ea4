"""Ejecting the example: what is the example's goes, what is yours stays."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ml_microservice.errors import ServiceError
from ml_microservice.starter import BLANK as BLANK_STARTER
from ml_microservice.starter import STARTERS, EjectReport
from ml_microservice.starter import eject_example as eject_from

LOADER = "src/model/data_loader.py"
TRAIN = "src/model/train.py"
README = "src/model/data/README.md"
Eject = Callable[[Path], EjectReport]
SKELETON = "import os\n# Example\n{}\n# End Example\ndef shared(): ...\n# Example\n{}\n# End Example\n"
EXAMPLE, BLANK = SKELETON.format("import csv", "def read(): ..."), SKELETON.format("", "PLACEHOLDER = 1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "config.yaml": "name: my-project\n# Example\nid_name: penguin_id\n# End Example\n",
        "README.md": "# My project\n<!-- Example -->\nPenguins.\n<!-- End Example -->\n",
        "src/model/data/penguins.csv": "a,b\n1,2\n",
        README: "<!-- Example data: penguins.csv README.md -->\n# Palmer penguins\n",
    }
    for name in (LOADER, TRAIN):
        files[name] = EXAMPLE
    return write(tmp_path / "project", files)


@pytest.fixture
def eject_example(tmp_path: Path) -> Eject:
    """Ejects by two starters that are smaller than those of the package."""
    for starter, text in {"penguins": EXAMPLE, "blank": BLANK}.items():
        write(tmp_path / "starters" / starter, dict.fromkeys((LOADER, TRAIN), text))
    return partial(eject_from, starters=tmp_path / "starters")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def tree(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_an_untouched_example_becomes_the_blank_starter(project: Path, eject_example: Eject) -> None:
    report = eject_example(project)
    assert tree(project) == {
        "config.yaml": "name: my-project\n",
        "README.md": "# My project\n",
        LOADER: BLANK,
        TRAIN: BLANK,
    }
    assert report.changed == (LOADER, TRAIN, "config.yaml", "README.md")
    assert report.kept == ()
    assert report.removed == ("src/model/data",)


def test_code_outside_of_the_example_blocks_stays(project: Path, eject_example: Eject) -> None:
    mine = "MINE = 1\n" + EXAMPLE.replace("def shared(): ...\n", "def shared(): return MINE\n")
    (project / TRAIN).write_text(mine)
    eject_example(project)
    assert (project / TRAIN).read_text() == "MINE = 1\n" + BLANK.replace("shared(): ...", "shared(): return MINE")


@pytest.mark.parametrize(
    "mine",
    ["def shared(): ...\n", EXAMPLE.replace("import csv", "import json"), EXAMPLE.partition("def shared")[0]],
    ids=["no-block-left", "a-block-edited", "one-block-left"],
)
def test_a_file_whose_example_blocks_you_changed_or_removed_is_kept(
    project: Path, eject_example: Eject, mine: str
) -> None:
    (project / TRAIN).write_text(mine)
    report = eject_example(project)
    assert (project / TRAIN).read_text() == mine
    assert report.kept == (f"{TRAIN}: yours, its example blocks are changed or gone",)


def test_a_file_that_you_removed_stays_removed(project: Path, eject_example: Eject) -> None:
    (project / TRAIN).unlink()
    assert eject_example(project).kept == (f"{TRAIN}: you removed it",)
    assert not (project / TRAIN).exists()


def test_your_own_data_beside_the_examples_is_kept(project: Path, eject_example: Eject) -> None:
    (project / "src/model/data/mine.csv").write_text("x\n")
    report = eject_example(project)
    assert [path.name for path in (project / "src/model/data").iterdir()] == ["mine.csv"]
    assert report.kept == ("src/model/data: it holds files of yours",)


def test_data_is_kept_when_it_is_not_marked_as_the_examples(project: Path, eject_example: Eject) -> None:
    (project / README).write_text("# Sales\n")
    eject_example(project)
    assert (project / "src/model/data/penguins.csv").exists()


def test_data_is_kept_while_your_own_loader_may_read_it(project: Path, eject_example: Eject) -> None:
    (project / LOADER).write_text("import csv\n")
    report = eject_example(project)
    assert (project / "src/model/data/penguins.csv").exists()
    assert f"src/model/data: your {LOADER} may read it" in report.kept


def test_a_lost_marker_is_reported_with_its_line_and_nothing_is_changed(project: Path, eject_example: Eject) -> None:
    (project / TRAIN).write_text(EXAMPLE + "# End Example\n")
    before = tree(project)
    with pytest.raises(ServiceError, match=r"src/model/train\.py:9: this marker has lost its other half"):
        eject_example(project)
    assert tree(project) == before


def test_there_is_nothing_to_eject_twice(project: Path, eject_example: Eject) -> None:
    eject_example(project)
    with pytest.raises(ServiceError, match="there is no example to eject"):
        eject_example(project)


@pytest.mark.parametrize("starter", sorted(path.name for path in STARTERS.iterdir() if path.name != BLANK_STARTER))
def test_each_example_of_this_package_becomes_the_blank_starter_byte_for_byte(starter: str, tmp_path: Path) -> None:
    project = Path(shutil.copytree(STARTERS / starter, tmp_path / "project"))
    eject_from(project)
    assert tree(project) == tree(STARTERS / BLANK_STARTER)


def test_the_blank_starter_has_nothing_to_eject(tmp_path: Path) -> None:
    project = Path(shutil.copytree(STARTERS / BLANK_STARTER, tmp_path / "project"))
    with pytest.raises(ServiceError, match="there is no example to eject"):
        eject_from(project)
