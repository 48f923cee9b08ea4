"""The lock of the image: its libraries with versions and hashes, resolved once and then committed.

Usage: python -m ml_microservice.delivery.lock

`image.extras` in config.yaml names extras of the project's pyproject.toml and of the machinery. Versions are those of
.venv, so that the model is served by the libraries that it was trained and tested with. The lock holds no address of a
package index: each machine that builds has its own.
"""

import hashlib
import json
import platform
import re
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from ml_microservice.delivery.integrity import DISTRIBUTION
from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.delivery.uv import run_uv
from ml_microservice.errors import ConfigError, Fault, did_you_mean, listed
from ml_microservice.terminal import faults_shown

PYPROJECT = "pyproject.toml"
REQUIREMENTS = "dockerfiles/runtime-image/requirements.lock"
INSTALLER = "dockerfiles/runtime-image/installer.lock"
"""Lock of uv, which installs the libraries and is not in the image itself."""
HEADER = re.compile(r"# Python (\d+\.\d+), sha256:([0-9a-f]{64})")
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Lock:
    """Libraries that the image installs."""

    python: str
    """Version of Python that they were resolved for, such as `3.11`."""
    versions: dict[str, str]
    """Versions by name."""


def read_lock(settings: DeliverySettings) -> Lock:
    """Read the lock.

    Raises:
        ConfigError: there is none, or `pyproject.toml`, `config.yaml` or the machinery ask for something else by now.
    """
    try:
        text = (settings.root / REQUIREMENTS).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(Fault("is not there", REQUIREMENTS, advice="run 'make lock' and commit it")) from None
    header = HEADER.search(text)
    if header is None or header[2] != _digest(_requirements(settings)):
        message = f"does not match {PYPROJECT}, image.extras of config.yaml and {DISTRIBUTION}"
        raise ConfigError(Fault(message, REQUIREMENTS, advice="run 'make lock' and commit it"))
    return Lock(header[1], {name.lower(): version for name, version in PIN.findall(text)})


def write_lock(settings: DeliverySettings) -> None:
    """Resolve and write both files.

    Raises:
        ConfigError: `image.extras` names an extra that does not exist.
        ServiceError: uv is missing, or finds no solution.
    """
    own, machinery = _extras(settings)
    digest = _digest(_requirements(settings))
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_installed()), encoding="utf-8")
        extras = Path(folder) / "machinery.in"
        extras.write_text(f"{DISTRIBUTION}[{','.join(machinery)}]\n", encoding="utf-8")
        options = [f"--extra={extra}" for extra in own]
        # The machinery itself is installed from a wheel in the build context; see `wheel`.
        options += ["--no-emit-package", DISTRIBUTION, "--constraints", str(constraints)]
        resolved = _compile(settings.root, PYPROJECT, str(extras), *options)
        installer = Path(folder) / "installer.in"
        installer.write_text("uv\n", encoding="utf-8")
        uv = _compile(settings.root, str(installer))
    header = f"# Written by `make lock`. What it is of:\n# Python {_python()}, sha256:{digest}\n"
    (settings.root / REQUIREMENTS).write_text(header + resolved, encoding="utf-8")
    (settings.root / INSTALLER).write_text(f"# Written by `make lock`.\n{uv}", encoding="utf-8")


def _extras(settings: DeliverySettings) -> tuple[list[str], list[str]]:
    """Those of `image.extras` that are the project's, and those that are the machinery's."""
    own = _project(settings)["optional-dependencies"]
    offered = metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    for extra in settings.image.extras:
        if extra not in (*own, *offered):
            advice = did_you_mean(extra, [*own, *offered], f"there are {listed([*own, *offered])}")
            message = f"image.extras: neither {PYPROJECT} nor {DISTRIBUTION} has an extra {extra!r}"
            raise ConfigError(Fault(message, "config.yaml", advice=advice))
    chosen = sorted(settings.image.extras)
    return [extra for extra in chosen if extra in own], [extra for extra in chosen if extra not in own]


def _requirements(settings: DeliverySettings) -> dict[str, list[str]]:
    """What the lock is of: the project's requirements and the machinery's, by extra."""
    project = _project(settings)
    own, machinery = _extras(settings)
    needed = [str(Requirement(line)) for line in requires(DISTRIBUTION) or ()]
    return {
        "": project["dependencies"],
        **{extra: project["optional-dependencies"][extra] for extra in own},
        DISTRIBUTION: [line for line in needed if "extra ==" not in line],
        **{
            f"{DISTRIBUTION}[{extra}]": [line for line in needed if f'extra == "{extra}"' in line]
            for extra in machinery
        },
    }


def _project(settings: DeliverySettings) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((settings.root / PYPROJECT).read_text(encoding="utf-8"))["project"]
    return {"dependencies": [], "optional-dependencies": {}, **project}


def _digest(requirements: dict[str, list[str]]) -> str:
    return hashlib.sha256(json.dumps({key: sorted(value) for key, value in requirements.items()}).encode()).hexdigest()


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _installed() -> list[str]:
    """Versions installed in `.venv`, as constraints; editable and local packages are left out."""
    listing = run_uv(Path(), "pip", "freeze", "--python", sys.executable)
    return [line for line in listing.splitlines() if PIN.fullmatch(line)]


def _compile(root: Path, *arguments: str) -> str:
    options = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"]
    platform_options = ["--python-version", _python(), "--python-platform", "linux"]
    return run_uv(root, "pip", "compile", *options, *platform_options, *arguments)


if __name__ == "__main__":
    with faults_shown():
        write_lock(load_delivery_settings())
    print(f"Wrote {REQUIREMENTS} and {INSTALLER}: commit them")
