"""Leaves of the generated files those that the answers ask for, and says what to do next.

The same answers give the same tree, byte for byte: no git, no network, no clock, no randomness.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""

PRUNE: tuple[tuple[str, object, tuple[str, ...]], ...] = (("machinery", "package", ("vendor",)),)
"""Option, answer, and the files and folders that a project with that answer does not have."""
MACHINERY = "vendor/ml-microservice"
PACKAGES = f"{MACHINERY}/src"
"""A symbolic link in the template, which cookiecutter follows."""
STARTERS = f"{PACKAGES}/ml_microservice/starters"
MANIFEST = "ml-microservice.sha256"
NO_LINKS = f"""
{PACKAGES} did not arrive as a folder, because this copy of the template has lost its symbolic links: clone the
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
    if not (root / PACKAGES).is_dir():
        sys.exit(NO_LINKS)


def lay_over(starter: str, root: Path) -> None:
    """Copy the starter's files, which are the user's from now on, to their places in the project."""
    shutil.copytree(root / STARTERS / starter, root, dirs_exist_ok=True)


def remove_caches(root: Path) -> None:
    """Remove what Python left behind in the template."""
    for cache in list(root.rglob("__pycache__")):
        remove(cache)


def write_manifest(version: str, is_vendored: bool, root: Path) -> None:
    """Write the machinery's version and the digest of each of its files, as `sha256sum --check` reads them.

    Paths are relative to the folder that holds the package: `vendor/ml-microservice/src`, or `site-packages`, where
    only the package itself is installed.
    """
    folder = root / (MACHINERY if is_vendored else PACKAGES)
    digests = {
        Path(os.path.relpath(path, root / PACKAGES)).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    lines = [f"# ml-microservice {version}", *(f"{digests[name]}  {name}" for name in sorted(digests))]
    (root / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def prune(answers: dict[str, object], root: Path) -> None:
    """Remove what the answers do not ask for."""
    for option, answer, paths in PRUNE:
        if answers[option] == answer:
            for path in paths:
                remove(root / path)


def remove(path: Path) -> None:
    """Remove a file or a folder, which has to be there: a path that is not is a mistake in the table."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    """Lay the chosen starter over the project, write the manifest, prune, and say what is next."""
    answers = json.loads(ANSWERS)
    check_machinery(Path())
    remove_caches(Path())
    lay_over(answers["starter"], Path())
    write_manifest(answers["__machinery_version"], answers["machinery"] == "vendored", Path())
    prune(answers, Path())
    print(NEXT_STEPS.format(slug=answers["project_slug"]))


if __name__ == "__main__":
    main()
