"""The integrity of the machinery: its files against `ml-microservice.sha256`, which the template wrote.

Usage: python -m ml_microservice.delivery.integrity

Prints one sentence. Changed files are a warning, not a failure: a team may patch its copy.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

DISTRIBUTION = "ml-microservice"
PACKAGE = "ml_microservice"
MANIFEST = "ml-microservice.sha256"
HEADER = f"# {DISTRIBUTION} "
NAMED = 3
"""Files that a sentence names; the rest is counted."""


@dataclass(frozen=True)
class Manifest:
    """The version of the machinery, and the SHA-256 digest of each of its files."""

    version: str
    digests: dict[str, str]
    """By path, relative to the folder that holds the package."""

    def differences(self, found: Mapping[str, str]) -> list[str]:
        """Sorted paths of files that were changed, removed or added.

        Args:
            found: digests by path, like those of the manifest.
        """
        return sorted(name for name in self.digests.keys() | found.keys() if self.digests.get(name) != found.get(name))

    def package(self) -> "Manifest":
        """The part that is installed from a wheel, without `pyproject.toml` and the like of a copy in `vendor/`."""
        return Manifest(self.version, {name: digest for name, digest in self.digests.items() if ".." not in name})


def read_manifest(root: Path) -> Manifest | None:
    """The manifest of a project; None if it has none."""
    try:
        lines = (root / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    versions = [line.removeprefix(HEADER) for line in lines if line.startswith(HEADER)]
    pairs = (line.partition("  ") for line in lines if not line.startswith("#"))
    return Manifest(versions[0] if versions else "", {name: digest for digest, _, name in pairs if name})


def installed_digests(manifest: Manifest, folder: Path) -> dict[str, str]:
    """Digests of an installed package, and of what the manifest names beside it.

    Args:
        manifest: names files outside of the package.
        folder: holds the package: `site-packages`, or `vendor/ml-microservice/src`.
    """
    package = (path for path in (folder / PACKAGE).rglob("*") if "__pycache__" not in path.parts)
    names = {path.relative_to(folder).as_posix() for path in package if path.is_file()} | manifest.digests.keys()
    return {name: _digest((folder / name).read_bytes()) for name in names if (folder / name).is_file()}


def wheel_digests(wheel: Path) -> dict[str, str]:
    """Digests of the files in a wheel, without its metadata."""
    with ZipFile(wheel) as archive:
        names = (name for name in archive.namelist() if not name.endswith("/"))
        return {
            name: _digest(archive.read(name)) for name in names if not name.partition("/")[0].endswith(".dist-info")
        }


def sentence(root: Path, folder: Path = Path(__file__).parents[2]) -> str:
    """Whether the installed machinery is the one of the project's manifest, in words.

    Args:
        root: the project.
        folder: holds the package.
    """
    installed = f"{DISTRIBUTION} {version(DISTRIBUTION)}"
    manifest = read_manifest(root)
    if manifest is None:
        return f"{installed}; there is no {MANIFEST} to compare it with"
    if installed != f"{DISTRIBUTION} {manifest.version}":
        return f"{installed} is installed, {MANIFEST} is of {manifest.version}: run 'make setup'"
    if not (folder / "../pyproject.toml").is_file():
        manifest = manifest.package()
    differences = manifest.differences(installed_digests(manifest, folder))
    if not differences:
        return f"{installed}, unmodified"
    return f"{installed}, modified: {listed_files(differences)}; docs/machinery.md says how to test a patch"


def listed_files(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    print(sentence(Path()))
