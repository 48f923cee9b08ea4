"""The folder of all model versions: writing one atomically, and the pointer to the current one."""

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from ml_microservice.errors import ArtefactError, Fault
from ml_microservice.settings import Settings

MANIFEST = "manifest.json"
POINTER = "current"
VERSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def model_store(settings: Settings) -> "ArtefactStore":
    """The model versions of a project."""
    return ArtefactStore(settings.model_directory)


def version_folder(settings: Settings, version: str | None = None) -> Path:
    """The folder of a model version, by default of the one that `artefacts.version` in `config.yaml` names.

    Raises:
        ArtefactError: there is no such version, or no model was trained yet.
    """
    return model_store(settings).path(version or settings.artefacts.version)


def version_name(created_at: datetime, run_id: UUID) -> str:
    """A version's name: the UTC second of training, so that versions sort by time, and six digits of its id."""
    return f"{created_at.astimezone(UTC):%Y%m%d-%H%M%S}-{run_id.hex[:6]}"


class ArtefactStore:
    """The versions under one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def versions(self) -> list[str]:
        """All complete versions, oldest first."""
        if not self.directory.is_dir():
            return []
        folders = (manifest.parent.name for manifest in self.directory.glob(f"*/{MANIFEST}"))
        return sorted(name for name in folders if VERSION.fullmatch(name))

    def path(self, version: str) -> Path:
        """The folder of a version; `current` follows the pointer.

        Raises:
            ArtefactError: there is no such version, or nothing was trained yet.
        """
        name = self.current() if version == POINTER else version
        if name is None:
            raise ArtefactError(Fault("no model was trained yet", file=self.directory.name, advice="run 'make train'"))
        folder = self.directory / name
        if not VERSION.fullmatch(name) or not (folder / MANIFEST).is_file():
            advice = f"there are: {', '.join(self.versions()) or 'none'}"
            raise ArtefactError(Fault(f"there is no model version {name!r}", file=self.directory.name, advice=advice))
        return folder

    def current(self) -> str | None:
        """The version that the pointer names, if there is a pointer."""
        try:
            return (self.directory / POINTER).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def write(self, version: str, files: Mapping[str, bytes]) -> Path:
        """Write a version's files atomically: either all of them are on disk, or the version does not exist."""
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / f".{version}.{os.getpid()}.tmp"
        try:
            temporary.mkdir()
            for name, content in files.items():
                _write_through(temporary / name, content)
            _sync_folder(temporary)
            temporary.rename(self.directory / version)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(temporary)
        _sync_folder(self.directory)
        return self.directory / version

    def point_to(self, version: str) -> None:
        """Make a version the current one, atomically."""
        self.path(version)
        temporary = self.directory / f".{POINTER}.{os.getpid()}.tmp"
        _write_through(temporary, f"{version}\n".encode())
        temporary.replace(self.directory / POINTER)
        _sync_folder(self.directory)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss (a no-op where folders cannot be opened)."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
