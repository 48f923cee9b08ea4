"""The wheel of the machinery that the runtime image installs: built from `vendor/`, or fetched from the team's index.

Usage: python -m ml_microservice.delivery.wheel

Writes the wheel beside the Dockerfile of the runtime image, in place of any other. Nothing of it is executed, and the
build of the image needs neither the index nor a build backend.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ml_microservice.delivery.integrity import (
    DISTRIBUTION,
    MANIFEST,
    PACKAGE,
    listed_files,
    read_manifest,
    wheel_digests,
)
from ml_microservice.delivery.uv import run_uv
from ml_microservice.errors import ConfigError, Fault, ServiceError
from ml_microservice.settings import load_settings
from ml_microservice.terminal import faults_shown, out

PYPROJECT = "pyproject.toml"
CONTEXT = "dockerfiles/runtime-image"
WHEELS = f"{PACKAGE}-*.whl"


class Wheel(NamedTuple):
    """A wheel in the build context."""

    path: Path
    version: str
    sha256: str


def provide_wheel(root: Path, environ: Mapping[str, str]) -> Wheel:
    """Put the wheel into the build context of the runtime image.

    Args:
        root: the project.
        environ: may hold `UV_INDEX_<NAME>_USERNAME` and `UV_INDEX_<NAME>_PASSWORD`, the login of the index.

    Raises:
        ServiceError: there is no wheel, or the index serves other files than the manifest names.
    """
    manifest = read_manifest(root)
    if manifest is None:
        raise ConfigError(Fault("is not there", MANIFEST, advice=f"run 'git checkout -- {MANIFEST}'"))
    uv = tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8")).get("tool", {}).get("uv", {})
    source: dict[str, str] = uv.get("sources", {}).get(DISTRIBUTION, {})
    with tempfile.TemporaryDirectory() as folder:
        if "path" in source:
            run_uv(root, "build", "--quiet", "--wheel", f"--out-dir={folder}", source["path"])
        else:
            _fetch(manifest.version, _index(uv, source.get("index")), Path(folder), environ)
        [wheel] = Path(folder).glob(WHEELS)
        content = wheel.read_bytes()
        differences = manifest.package().differences(wheel_digests(wheel))
    if differences and "path" in source:
        out.print(f"[yellow]The machinery is modified:[/] {listed_files(differences)}", highlight=False)
    elif differences:
        message = f"the index serves another package as {DISTRIBUTION} {manifest.version}: {listed_files(differences)}"
        raise ServiceError(Fault(message, MANIFEST, advice="publish what 'make dist' builds in the template's clone"))
    for old in (root / CONTEXT).glob(WHEELS):
        old.unlink()
    path = root / CONTEXT / wheel.name
    path.write_bytes(content)
    return Wheel(path, manifest.version, sha256(content).hexdigest())


def _index(uv: dict[str, Any], name: str | None) -> dict[str, str]:
    for index in uv.get("index", ()):
        if name is not None and index["name"] == name:
            found: dict[str, str] = index
            return found
    message = f"says neither in which folder {DISTRIBUTION} is, nor in which index"
    raise ConfigError(Fault(message, PYPROJECT, advice=f"fill in {DISTRIBUTION} of [tool.uv.sources]"))


def _fetch(version: str, index: dict[str, str], folder: Path, environ: Mapping[str, str]) -> None:
    """Download by pip: uv has no command for it."""
    if index.get("format") == "flat":
        where = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index["url"]}
    else:
        where = {"PIP_INDEX_URL": _with_login(index, environ)}
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    command = [sys.executable, "-m", "pip", "download", *options, f"{DISTRIBUTION}=={version}"]
    # Of the environment, because a command line can be read by every user of the machine.
    done = subprocess.run(command, capture_output=True, text=True, env={**environ, **where})
    if done.returncode:
        message = f"{index['url']} does not have {DISTRIBUTION} {version}: {done.stderr.strip()}"
        raise ServiceError(Fault(message, PYPROJECT, advice="publish it there, or name another index"))


def _with_login(index: dict[str, str], environ: Mapping[str, str]) -> str:
    """The URL with the login that uv takes from the environment."""
    prefix = f"UV_INDEX_{index['name'].upper().replace('-', '_')}"
    user, password = (quote(environ.get(f"{prefix}_{part}", ""), safe="") for part in ("USERNAME", "PASSWORD"))
    if not user and not password:
        return index["url"]
    parts = urlsplit(index["url"])
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()


def main() -> None:
    """Provide the wheel for a build by hand."""
    root = load_settings().root
    wheel = provide_wheel(root, os.environ)
    print(f"Wrote {wheel.path.relative_to(root)}")


if __name__ == "__main__":
    with faults_shown():
        main()
