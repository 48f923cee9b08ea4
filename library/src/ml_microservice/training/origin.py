"""The origin of a model: data, code, seed and libraries; and whether training reproduced an earlier model."""

import hashlib
import platform
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pandas as pd
from packaging.requirements import Requirement

from ml_microservice.artefact.manifest import Manifest, Origin, Reproduction
from ml_microservice.artefact.reader import MODEL, PREPROCESSOR, read_manifest
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.settings import TrainingSettings


def data_digest(features: pd.DataFrame, target: "pd.Series[Any]") -> str:
    """SHA-256 of the training frame: names, dtypes and values, in order."""
    digest = hashlib.sha256()
    for name, column in [*features.items(), ("", target)]:
        digest.update(f"{name}\0{column.dtype}\0".encode())
        values = column.map(repr) if column.dtype == object else column
        digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def code_digest(folder: Path) -> str:
    """SHA-256 of the hooks' Python files and of `features.yaml`."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.glob("features.yaml")]):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def origin(project: str, data_sha256: str, folder: Path, settings: TrainingSettings) -> Origin:
    """Everything that a training run depends on."""
    return Origin(
        data_sha256=data_sha256,
        code_sha256=code_digest(folder),
        seed=settings.seed,
        test_size=settings.test_size,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        libraries=model_libraries(project),
    )


def model_libraries(project: str) -> dict[str, str]:
    """Versions of the libraries in the project's extra `model`, and of numpy."""
    names = {"numpy"}
    try:
        required = [Requirement(line) for line in requires(project) or ()]
    except PackageNotFoundError:
        required = []
    always = {item.name for item in required if item.marker is None or item.marker.evaluate({"extra": ""})}
    with_extra = {item.name for item in required if item.marker is None or item.marker.evaluate({"extra": "model"})}
    names |= with_extra - always
    return {name: found for name in sorted(names) if (found := _version(name))}


def reproduction(store: ArtefactStore, made: Origin, digests: dict[str, str]) -> Reproduction:
    """Compare the digests of Preprocessor and model with the latest version that was trained on the same data."""
    previous = next(_same_data(store, made), None)
    if previous is None:
        return Reproduction(of=None, verdict="first", why=())
    names = (PREPROCESSOR, MODEL)
    differing = [name for name in names if previous.files[name].sha256 != digests[name]]
    if not differing:
        return Reproduction(of=previous.version, verdict="identical", why=())
    return Reproduction(of=previous.version, verdict="different", why=tuple(_reasons(previous.origin, made, differing)))


def git_commit(root: Path) -> str | None:
    """The project's commit, with `-dirty` if tracked files differ from it; None outside of git."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _same_data(store: ArtefactStore, made: Origin) -> Iterator[Manifest]:
    manifests = (read_manifest(store.path(name)) for name in reversed(store.versions()))
    return (manifest for manifest in manifests if manifest.origin.data_sha256 == made.data_sha256)


def _reasons(before: Origin, now: Origin, differing: Sequence[str]) -> list[str]:
    reasons = [
        f"{words} changed"
        for words, old, new in (
            ("the hooks or features.yaml", before.code_sha256, now.code_sha256),
            ("training.seed", before.seed, now.seed),
            ("training.test_size", before.test_size, now.test_size),
            ("the Python version", before.python, now.python),
            ("the machine", before.machine, now.machine),
        )
        if old != new
    ]
    changed = sorted(
        name for name in before.libraries | now.libraries if before.libraries.get(name) != now.libraries.get(name)
    )
    reasons += [f"{name} changed from {before.libraries.get(name)} to {now.libraries.get(name)}" for name in changed]
    unseeded = f"{' and '.join(differing)} differ with nothing changed: a hook uses randomness of its own; seed it"
    return reasons or [unseeded]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
