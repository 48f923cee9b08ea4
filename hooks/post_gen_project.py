"""Leaves of the generated files those that the answers ask for, and says what to do next.

The same answers give the same tree, byte for byte: no git, no network, no clock, no randomness.
"""

import json
import shutil
import sys
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""

PRUNE: tuple[tuple[str, object, tuple[str, ...]], ...] = ()
"""Option, answer, and the files and folders that a project with that answer does not have."""
MACHINERY = "vendor/ml-microservice/src"
"""A symbolic link in the template, which cookiecutter follows."""
STARTERS = f"{MACHINERY}/ml_microservice/starters"
NO_LINKS = f"""
{MACHINERY} did not arrive as a folder, because this copy of the template has lost its symbolic links: clone the
template by git, with core.symlinks=true, instead of unpacking an archive of it.
"""

NEXT_STEPS = """
The project is in {slug}/. Next:

  cd {slug}
  make setup     create .venv and install everything into it
  make train     train the model, evaluate it and write the report
  make serve     serve it; the API documentation is at /docs
  make test      run the tests

README.md says which files are yours to fill in.
"""


def check_machinery(root: Path) -> None:
    """Refuse a template without symbolic links; cookiecutter then removes what it has made so far."""
    if not (root / MACHINERY).is_dir():
        sys.exit(NO_LINKS)


def lay_over(starter: str, root: Path) -> None:
    """Copy the starter's files, which are the user's from now on, to their places in the project."""
    shutil.copytree(root / STARTERS / starter, root, dirs_exist_ok=True)


def prune(answers: dict[str, object], root: Path) -> None:
    """Remove what the answers do not ask for, and what Python left behind in the template."""
    for option, answer, paths in PRUNE:
        if answers[option] == answer:
            for path in paths:
                remove(root / path)
    for cache in list(root.rglob("__pycache__")):
        remove(cache)


def remove(path: Path) -> None:
    """Remove a file or a folder, which has to be there: a path that is not is a mistake in the table."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    """Lay the chosen starter over the project, prune it, and say what is next."""
    answers = json.loads(ANSWERS)
    check_machinery(Path())
    lay_over(answers["starter"], Path())
    prune(answers, Path())
    print(NEXT_STEPS.format(slug=answers["project_slug"]))


if __name__ == "__main__":
    main()
