"""The program uv, wherever it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ml_microservice.errors import Fault, ServiceError


def run_uv(folder: Path, *arguments: str) -> str:
    """Run a command of uv in a folder; its output.

    Raises:
        ServiceError: uv is missing, or the command fails.
    """
    done = subprocess.run(
        [_uv(), *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    if done.returncode:
        command = " ".join(word for word in arguments[:2] if not word.startswith("-"))
        raise ServiceError(Fault(f"uv {command} failed:\n{done.stderr.strip()}", advice="see above"))
    return done.stdout


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if found is None:
        raise ServiceError(Fault("uv is not installed", advice="run 'make setup'"))
    return found
