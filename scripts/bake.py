"""Bake a project from the working tree as it stands: uncommitted changes included, caches and ignored files not.

Usage: python scripts/bake.py FOLDER [OPTION=ANSWER ...]
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parents[1]


def bake(folder: Path, *, template: Path, **answers: str) -> Path:
    """Generate a project into a new folder inside `folder`, with the default answers where none are given.

    Cookiecutter knows nothing of .gitignore: give it a copy that `copy_template` made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    project = cookiecutter(
        str(template), no_input=True, extra_context=answers, output_dir=str(folder), default_config=True
    )
    return Path(project)


def copy_template(destination: Path) -> Path:
    """Copy what git tracks, or would track, of the template."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=TEMPLATE, check=True, capture_output=True, text=True).stdout
    for name in sorted(set(filter(None, listing.split("\0")))):
        if os.path.lexists(TEMPLATE / name):  # a deleted file stays listed until the deletion is committed
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TEMPLATE / name, destination / name, follow_symlinks=False)
    return destination


def main() -> None:
    """Bake what the command line asks for."""
    if len(sys.argv) < 2 or not all("=" in argument for argument in sys.argv[2:]):
        sys.exit(__doc__)
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    answers = dict(argument.split("=", 1) for argument in sys.argv[2:])
    with tempfile.TemporaryDirectory() as temporary:
        try:
            bake(Path(sys.argv[1]), template=copy_template(Path(temporary)), **answers)
        except subprocess.CalledProcessError as error:
            sys.exit(f"bake: git cannot list the template's files: {error.stderr.strip()}")
        except FailedHookException:  # which has said what is wrong
            sys.exit(1)
        except (CookiecutterException, ValueError) as error:
            sys.exit(f"bake: {error}")


if __name__ == "__main__":
    main()
