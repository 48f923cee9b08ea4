"""The first command of the README, as a newcomer runs it: in a fresh clone, without a terminal."""

from pathlib import Path

import pytest

from bake import copy_template
from conftest import make, run

pytestmark = pytest.mark.t2


@pytest.mark.slow
def test_the_demo_predicts_a_penguin_and_ends(tmp_path: Path) -> None:
    clone = copy_template(tmp_path / "clone")
    run(["git", "init", "--quiet"], clone)
    output = make(clone, "demo")
    assert '"prediction": "Gentoo"' in output
    assert '"probabilities": {' in output
    assert "/docs" in output
    assert "report.html" in output


def test_make_alone_lists_every_target_with_its_sentence() -> None:
    root = Path(__file__).parents[1]
    for folder in (root, root / "{{cookiecutter.project_slug}}"):
        listed = {line.split()[1] for line in run(["make"], folder).splitlines()}
        makefile = (folder / "Makefile").read_text().replace("\\\n", "")
        declared = makefile.partition(".PHONY:")[2].partition("\n")[0].split()
        assert listed == set(declared)
