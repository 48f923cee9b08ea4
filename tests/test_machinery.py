"""The library in the environment of a project: it needs nothing that its pyproject.toml does not declare.

Its own tests are in `library/tests`, where all extras are installed.
"""

import json
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from bake import TEMPLATE
from conftest import run

pytestmark = pytest.mark.t2

LIBRARY = TEMPLATE / "library"
NOT_IMPORTED = ("starters", "__main__.py", "healthy.py", "inside.py", "migrations")
"""Files of projects, three programs, and what Alembic loads itself."""
IMPORT_ALL = f"""
import importlib, json, pathlib, ml_microservice
package = pathlib.Path(ml_microservice.__file__).parent
names, missing = [], {{}}
for path in sorted(package.rglob("*.py")):
    parts = path.relative_to(package.parent).with_suffix("").parts
    if not {{*path.parts}} & {{*{NOT_IMPORTED}}}:
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name
print(json.dumps([len(names), missing]))
"""


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}


def test_every_module_is_imported_with_the_extras_of_a_project(installed: Callable[[str], Path]) -> None:
    project = installed("penguins")
    extras = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [used] = [
        set(match[1].split(","))
        for requirement in tomllib.loads((project / "pyproject.toml").read_text())["dependency-groups"]["dev"]
        if (match := re.fullmatch(r"ml-microservice\[(.+)\]", requirement))
    ]
    assert used < extras.keys()
    elsewhere = set().union(*(distributions(extras[extra]) for extra in extras.keys() - used))
    known = packages_distributions()  # of the environment of these tests, which has all extras
    said = run([str(project / ".venv/bin/python"), "-c", IMPORT_ALL], project)
    count, missing = json.loads(said)
    assert count > 200
    undeclared = {
        name: module for name, module in missing.items() if not elsewhere & set(known.get(module.split(".")[0], ()))
    }
    assert undeclared == {}
