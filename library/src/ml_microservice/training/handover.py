"""Export of a model version from the checkout that trained it, and import into another checkout of the same hooks."""

from pathlib import Path

from ml_microservice.artefact.archive import read_archive, write_archive
from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.reader import read_artefact
from ml_microservice.artefact.store import MANIFEST, POINTER, model_store, version_folder
from ml_microservice.atomic_file import written_atomically
from ml_microservice.errors import ArtefactError, Fault
from ml_microservice.settings import Settings
from ml_microservice.training.origin import code_digest

REPORT = "report.html"


def export_model(settings: Settings, target: Path, report: Path | None = None) -> Manifest:
    """Write the current version as an archive, and its report to `report` if that is given.

    Raises:
        ArtefactError: there is no model yet, or the version is damaged or belongs to another project.
        InputFileError: a file cannot be written.
    """
    folder = version_folder(settings, POINTER)
    artefact = read_artefact(folder, settings.name)
    with written_atomically(target) as file:
        write_archive(folder, file)
    if report is not None:
        with written_atomically(report) as file:
            file.write_bytes(artefact.files[REPORT])
    return artefact.manifest


def import_model(settings: Settings, file: Path) -> Manifest:
    """Store the version of an archive and make it the current one.

    Raises:
        ArtefactError: the archive is not valid, its hooks differ from this checkout's, or its name is taken.
    """
    manifest, contents = read_archive(file, settings.name)
    if manifest.origin.code_sha256 != code_digest(settings.features_file.parent):
        raise ArtefactError(_other_hooks(manifest, file))
    store = model_store(settings)
    if manifest.version not in store.versions():
        store.write(manifest.version, contents)
    elif (store.path(manifest.version) / MANIFEST).read_bytes() != contents[MANIFEST]:
        message = f"another model {manifest.version} is there already"
        raise ArtefactError(Fault(message, settings.artefacts.directory.as_posix(), advice="remove it, if it may go"))
    else:
        read_artefact(store.path(manifest.version), settings.name)
    store.point_to(manifest.version)
    return manifest


def _other_hooks(manifest: Manifest, file: Path) -> Fault:
    """The fault of a model that other hooks made, with the way to get these hooks."""
    message = f"model {manifest.version} was trained by other hooks than those in src/model"
    commit, _, dirty = (manifest.git_commit or "").partition("-")
    if not commit:
        message += "; it was trained outside of git, so nothing says by which"
        return Fault(message, file.name, advice="train again, in this checkout")
    if dirty:
        message += f": at commit {commit}, with changes that were not committed"
        return Fault(message, file.name, advice="commit them and train again")
    return Fault(f"{message}: at commit {commit}", file.name, advice=f"git checkout {commit}")
