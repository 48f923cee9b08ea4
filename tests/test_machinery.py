"""The machinery of a generated project, by the project's own Makefile: it is the same in every project.

What differs from starter to starter is in `test_generated_projects.py` and `test_template_tree.py`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import make

pytestmark = pytest.mark.t2


def test_it_is_clean_by_its_own_lint(installed: Callable[[str], Path]) -> None:
    make(installed("penguins"), "lint")


def test_its_own_tests_pass(installed: Callable[[str], Path]) -> None:
    make(installed("penguins"), "test-all", "ARGS=-m 'not slow'")


@pytest.mark.slow
def test_its_slow_tests_pass(installed: Callable[[str], Path]) -> None:
    make(installed("penguins"), "test-all", "ARGS=-m slow")
