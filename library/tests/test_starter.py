"""Ejecting the example: what is the example's goes, what is yours stays."""

from pathlib import Path

import pytest

from ml_microservice.errors import ServiceError
from ml_microservice.starter import eject_example

LOADER = "src/model/data_loader.py"
TRAIN = "src/model/train.py"
README = "src/model/data/README.md"
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
        files |= {name: EXAMPLE, f"starters/penguins/{name}": EXAMPLE, f"starters/blank/{name}": BLANK}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def tree(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_an_untouched_example_becomes_the_blank_starter(project: Path) -> None:
    report = eject_example(project)
    assert tree(project) == {
        "config.yaml": "name: my-project\n",
        "README.md": "# My project\n",
        LOADER: BLANK,
        TRAIN: BLANK,
    }
    assert report.changed == (LOADER, TRAIN, "config.yaml", "README.md")
    assert report.kept == ()
    assert report.removed == ("src/model/data", "starters")


def test_code_outside_of_the_example_blocks_stays(project: Path) -> None:
    mine = "MINE = 1\n" + EXAMPLE.replace("def shared(): ...\n", "def shared(): return MINE\n")
    (project / TRAIN).write_text(mine)
    eject_example(project)
    assert (project / TRAIN).read_text() == "MINE = 1\n" + BLANK.replace("shared(): ...", "shared(): return MINE")


@pytest.mark.parametrize(
    "mine",
    ["def shared(): ...\n", EXAMPLE.replace("import csv", "import json"), EXAMPLE.partition("def shared")[0]],
    ids=["no-block-left", "a-block-edited", "one-block-left"],
)
def test_a_file_whose_example_blocks_you_changed_or_removed_is_kept(project: Path, mine: str) -> None:
    (project / TRAIN).write_text(mine)
    report = eject_example(project)
    assert (project / TRAIN).read_text() == mine
    assert report.kept == (f"{TRAIN}: yours, its example blocks are changed or gone",)


def test_a_file_that_you_removed_stays_removed(project: Path) -> None:
    (project / TRAIN).unlink()
    assert eject_example(project).kept == (f"{TRAIN}: you removed it",)
    assert not (project / TRAIN).exists()


def test_your_own_data_beside_the_examples_is_kept(project: Path) -> None:
    (project / "src/model/data/mine.csv").write_text("x\n")
    report = eject_example(project)
    assert [path.name for path in (project / "src/model/data").iterdir()] == ["mine.csv"]
    assert report.kept == ("src/model/data: it holds files of yours",)


def test_data_is_kept_when_it_is_not_marked_as_the_examples(project: Path) -> None:
    (project / README).write_text("# Sales\n")
    eject_example(project)
    assert (project / "src/model/data/penguins.csv").exists()


def test_data_is_kept_while_your_own_loader_may_read_it(project: Path) -> None:
    (project / LOADER).write_text("import csv\n")
    report = eject_example(project)
    assert (project / "src/model/data/penguins.csv").exists()
    assert f"src/model/data: your {LOADER} may read it" in report.kept


def test_a_lost_marker_is_reported_with_its_line_and_nothing_is_changed(project: Path) -> None:
    (project / TRAIN).write_text(EXAMPLE + "# End Example\n")
    before = tree(project)
    with pytest.raises(ServiceError, match=r"src/model/train\.py:9: this marker has lost its other half"):
        eject_example(project)
    assert tree(project) == before


def test_there_is_nothing_to_eject_twice(project: Path) -> None:
    eject_example(project)
    with pytest.raises(ServiceError, match="there is no example to eject"):
        eject_example(project)
