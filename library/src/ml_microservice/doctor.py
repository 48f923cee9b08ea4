"""`ml-service doctor`: what this project is, what it would serve, and what stands in the way."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_microservice.artefact.store import model_store
from ml_microservice.delivery.integrity import sentence as integrity
from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.features.features_file import load_features
from ml_microservice.inference.served_model import read_configured_model
from ml_microservice.records.segment import prepare_folder, waiting_bytes
from ml_microservice.settings import Settings
from ml_microservice.training.hooks import load_hooks
from ml_microservice.training.origin import git_commit, model_libraries


@dataclass(frozen=True)
class Finding:
    """The result of examining one subject."""

    subject: str
    words: str
    faults: tuple[Fault, ...] = ()


def examine(root: Path) -> Iterator[Finding]:
    """Examine everything that serving and training need; what depends on something broken is skipped."""
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("machinery", integrity(root))
    try:
        settings = load_delivery_settings(root)
    except ServiceError as error:
        yield Finding("config.yaml", "cannot be used", error.faults)
        return
    keys = f"{len(settings.api.keys)} API keys" if settings.api.keys else "open: no API key is set"
    yield Finding("config.yaml", f"{settings.name}, {settings.environment}, {keys}")
    libraries = ", ".join(f"{name} {version}" for name, version in model_libraries(settings.name).items())
    yield Finding("libraries", libraries)
    yield Finding("commit", git_commit(settings.root) or "not in git: models will not name their commit")
    yield _finding("features.yaml", lambda: _features(settings))
    yield _finding("hooks", lambda: _hooks(settings))
    yield _finding("model", lambda: _model(settings))
    yield _finding("records", lambda: _records(settings))


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except ServiceError as error:
        return Finding(subject, "cannot be used", error.faults)


def _features(settings: Settings) -> str:
    draft = load_features(settings.features_file, settings.id_name)
    task = draft.task or "task inferred from the data"
    return f"{task}, {len(draft.features)} features, target {draft.target or 'inferred from the data'}"


def _hooks(settings: Settings) -> str:
    draft = load_features(settings.features_file, settings.id_name)
    hooks = load_hooks(settings.root, draft.task)
    return f"{hooks.folder.relative_to(settings.root)}: complete"


def _model(settings: DeliverySettings) -> str:
    served = read_configured_model(settings).proved()
    name = served.manifest.version
    image = settings.image_name(name, git_commit(settings.root))
    return f"{name} ({len(model_store(settings).versions())} in all), golden rows agree; its image is {image}"


def _records(settings: Settings) -> str:
    records = settings.records
    if not records.sinks:
        return "none: records.sinks is empty"
    prepare_folder(settings.records_directory)
    mebibytes = waiting_bytes(settings.records_directory) / 2**20
    personal = {"omit": "left out", "hash": "hashed"}[records.pii]
    waiting = f"to {', '.join(records.sinks)}; {mebibytes:.1f} MiB wait in {records.directory}"
    return f"{waiting}; durability {records.durability}; when full, {records.when_full}; personal data {personal}"
