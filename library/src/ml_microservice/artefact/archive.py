"""A model version as one file: a plain tar archive, with the same bytes for the same version."""

import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.reader import content_faults, parse_manifest, read_manifest, verified_files
from ml_microservice.artefact.store import MANIFEST, VERSION
from ml_microservice.errors import ArtefactError, Fault

MOST_MANIFEST_BYTES = 2**22
PIECE = 2**20
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


def write_archive(folder: Path, target: Path) -> Manifest:
    """Verify a version and write its archive: the manifest first, then its files by name, without times and owners.

    Raises:
        ArtefactError: the version is damaged.
    """
    manifest = read_manifest(folder)
    contents = verified_files(folder, manifest)
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in (MANIFEST, *sorted(contents)):
            content = (folder / MANIFEST).read_bytes() if name == MANIFEST else contents[name]
            entry = tarfile.TarInfo(f"{manifest.version}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return manifest


def read_archive(file: Path, project: str) -> tuple[Manifest, Mapping[str, bytes]]:
    """The manifest of an archive, and the content of all its files, the manifest included; nothing is unpacked.

    The file is not trusted: it may contain only regular files directly in one version's folder, each named by the
    manifest and of the size given there.

    Args:
        file: the archive.
        project: slug of this project; another project's model is refused.

    Raises:
        ArtefactError: the file cannot be read, is no archive of a model, or its files are not those of the manifest.
    """
    try:
        with tarfile.open(file, "r:") as archive:
            manifest, contents = _read(archive, file.name)
    except OSError as error:
        raise ArtefactError(Fault(f"cannot be read: {error.strerror or error}", str(file))) from None
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError) as error:
        message, advice = f"is no archive of a model: {error}", "make one by 'make export-model'"
        raise ArtefactError(Fault(message, str(file), advice=advice)) from None
    if manifest.project != project:
        message = f"the model belongs to project {manifest.project!r}, this is {project!r}"
        raise ArtefactError(Fault(message, file=file.name))
    return manifest, contents


def _read(archive: tarfile.TarFile, file: str) -> tuple[Manifest, Mapping[str, bytes]]:
    first = archive.next()
    folder, _, name = first.name.partition("/") if first else ("", "", "")
    if first is None or name != MANIFEST or not VERSION.fullmatch(folder):
        message, advice = "does not begin with a version's manifest", "make one by 'make export-model'"
        raise ArtefactError(Fault(message, file, advice=advice))
    whole = _content(archive, first, MOST_MANIFEST_BYTES, file)
    manifest = parse_manifest(whole, f"{file}/{first.name}")
    if manifest.version != folder:
        raise ArtefactError(Fault(f"the manifest of {folder} is that of {manifest.version!r}", file))
    contents: dict[str, bytes] = {}
    while (entry := archive.next()) is not None:
        name = entry.name.removeprefix(f"{folder}/")
        known = name in manifest.files and name != MANIFEST and FILE_NAME.fullmatch(name)
        if not known or name in contents or entry.name != f"{folder}/{name}":
            raise ArtefactError(Fault(f"{_shown(entry.name)} has no place in a model's archive", file))
        contents[name] = _content(archive, entry, manifest.files[name].size, file)
    faults = [Fault("is missing", f"{folder}/{name}") for name in manifest.files if name not in contents]
    faults += content_faults(contents, manifest, folder)
    if faults:
        raise ArtefactError(*faults)
    return manifest, {MANIFEST: whole, **contents}


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo, most: int, file: str) -> bytes:
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
        raise ArtefactError(Fault(f"{_shown(entry.name)} is no regular file", file))
    if not 0 <= entry.size <= most:
        message = f"{_shown(entry.name)} has {entry.size:,} bytes, at most {most:,} belong there"
        raise ArtefactError(Fault(message, file))
    opened = archive.extractfile(entry)
    # Read in pieces: a manifest may lie about a size, and one large read would allocate all of it first.
    return b"".join(iter(lambda: opened.read(PIECE), b"")) if opened else b""


def _shown(name: str) -> str:
    """A name from an untrusted file, on one line and shortened."""
    return json.dumps(name[:100])
