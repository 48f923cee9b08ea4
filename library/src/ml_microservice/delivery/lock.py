"""The libraries of the image, each with its version and its hashes, resolved once and then committed.

Usage: python -m ml_microservice.delivery.lock

Versions are those that .venv has: what the model was trained and tested with is what serves it. No address of a package
index is written down: where packages come from is the business of the machine that builds.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.errors import ConfigError, Fault, ServiceError, did_you_mean, listed
from ml_microservice.terminal import faults_shown

PYPROJECT = "pyproject.toml"
REQUIREMENTS = "dockerfiles/runtime-image/requirements.lock"
INSTALLER = "dockerfiles/runtime-image/installer.lock"
"""uv, which installs the others and stays out of the image."""
HEADER = re.compile(r"# Python (\d+\.\d+), sha256:([0-9a-f]{64})")
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Lock:
    """What the image installs."""

    python: str
    """`3.11`, say: versions were chosen for it."""
    versions: dict[str, str]
    """By name."""


def read_lock(settings: DeliverySettings) -> Lock:
    """The lock, which has to be of what `pyproject.toml` and `config.yaml` say now.

    Raises:
        ConfigError: there is none, or it is of other requirements.
    """
    try:
        text = (settings.root / REQUIREMENTS).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(Fault("is not there", REQUIREMENTS, advice="run 'make lock' and commit it")) from None
    header = HEADER.search(text)
    if header is None or header[2] != _digest(_requirements(settings)):
        message = f"is of other requirements than {PYPROJECT} and image.extras of config.yaml"
        raise ConfigError(Fault(message, REQUIREMENTS, advice="run 'make lock' and commit it"))
    return Lock(header[1], {name.lower(): version for name, version in PIN.findall(text)})


def write_lock(settings: DeliverySettings) -> None:
    """Resolve and write both files.

    Raises:
        ConfigError: `image.extras` names an extra that the project does not have.
        ServiceError: uv is missing, or finds no solution.
    """
    digest = _digest(_requirements(settings))
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_installed()), encoding="utf-8")
        extras = [word for extra in settings.image.extras for word in ("--extra", extra)]
        resolved = _compile(settings.root, PYPROJECT, *extras, "--constraints", str(constraints))
        installer = Path(folder) / "installer.in"
        installer.write_text("uv\n", encoding="utf-8")
        uv = _compile(settings.root, str(installer))
    header = f"# Written by `make lock`. What it is of:\n# Python {_python()}, sha256:{digest}\n"
    (settings.root / REQUIREMENTS).write_text(header + resolved, encoding="utf-8")
    (settings.root / INSTALLER).write_text(f"# Written by `make lock`.\n{uv}", encoding="utf-8")


def _requirements(settings: DeliverySettings) -> dict[str, list[str]]:
    project = tomllib.loads((settings.root / PYPROJECT).read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    for extra in settings.image.extras:
        if extra not in extras:
            advice = did_you_mean(extra, extras, f"{PYPROJECT} has {listed(extras)}")
            raise ConfigError(Fault(f"image.extras: there is no extra {extra!r}", "config.yaml", advice=advice))
    return {"": project["dependencies"], **{extra: extras[extra] for extra in sorted(settings.image.extras)}}


def _digest(requirements: dict[str, list[str]]) -> str:
    return hashlib.sha256(json.dumps({key: sorted(value) for key, value in requirements.items()}).encode()).hexdigest()


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _installed() -> list[str]:
    """What .venv has, as constraints; what was not installed from an index is left out."""
    listing = _run([_uv(), "pip", "freeze", "--python", sys.executable], Path())
    return [line for line in listing.splitlines() if PIN.fullmatch(line)]


def _compile(root: Path, *arguments: str) -> str:
    options = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"]
    platform_options = ["--python-version", _python(), "--python-platform", "linux"]
    return _run([_uv(), "pip", "compile", *options, *platform_options, *arguments], root)


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if found is None:
        raise ServiceError(Fault("uv is not installed", advice="run 'make setup'"))
    return found


def _run(command: list[str], root: Path) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        raise ServiceError(Fault(f"{' '.join(command[1:3])} failed:\n{done.stderr.strip()}", advice="see above"))
    return done.stdout


if __name__ == "__main__":
    with faults_shown():
        write_lock(load_delivery_settings())
    print(f"Wrote {REQUIREMENTS} and {INSTALLER}: commit them")
