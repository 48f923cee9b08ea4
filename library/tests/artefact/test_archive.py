"""A model's archive has the same bytes each time, and is read only if it is exactly what was written."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_microservice.artefact.archive import read_archive, write_archive
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ArtefactError
from ml_microservice.inference.served_model import load_served_model

Entry = tuple[tarfile.TarInfo, bytes]


def current(project: Path) -> Path:
    """The folder of the project's one model."""
    return ArtefactStore(project / "model_bin").path("current")


@pytest.fixture
def archive(trained_project: Path, tmp_path: Path) -> Path:
    """The archive of the trained model."""
    write_archive(current(trained_project), tmp_path / "model.tar")
    return tmp_path / "model.tar"


def changed(archive: Path, change: Callable[[list[Entry]], list[Entry]]) -> Path:
    """The archive written again with other entries."""
    with tarfile.open(archive, "r:") as opened:
        entries = [(entry, stream.read()) for entry in opened if (stream := opened.extractfile(entry))]
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as written:
        for entry, content in change(entries):
            written.addfile(entry, io.BytesIO(content))
    return archive


def entry(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    """An entry of any kind."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(content) if kind == tarfile.REGTYPE else 0
    return made, content


def named_by_the_manifest(entries: list[Entry], name: str, content: bytes) -> list[Entry]:
    """The entries with a manifest that names one more file, as whoever writes both would."""
    from ml_microservice.artefact.manifest import FileDigest

    manifest = json.loads(entries[0][1])
    manifest["files"][name] = FileDigest.of(content).model_dump()
    return [entry(entries[0][0].name, json.dumps(manifest).encode()), *entries[1:]]


def test_what_was_written_is_read(archive: Path, trained_project: Path) -> None:
    manifest, contents = read_archive(archive, "houses")
    assert manifest.version == current(trained_project).name
    assert contents == {path.name: path.read_bytes() for path in current(trained_project).iterdir()}


def test_an_archive_has_the_same_bytes_whenever_and_by_whomever_it_is_written(project: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.tar", tmp_path / "again.tar"
    write_archive(current(project), first)
    for path in current(project).iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    write_archive(current(project), again)
    assert first.read_bytes() == again.read_bytes()


def test_a_stored_version_of_it_is_served(archive: Path, tmp_path: Path) -> None:
    manifest, contents = read_archive(archive, "houses")
    folder = ArtefactStore(tmp_path / "models").write(manifest.version, contents)
    assert load_served_model(folder, "houses", "house id").manifest == manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda all: [*all, entry("/etc/cron.d/evil")], "has no place"),
        (lambda all: [*all, entry(all[0][0].name.replace("manifest.json", "../../evil"))], "has no place"),
        (lambda all: [*all, entry("evil")], "has no place"),
        (lambda all: [*all, entry(all[0][0].name.replace("manifest.json", "extra.py"))], "has no place"),
        (lambda all: [*all, all[-1]], "has no place"),
        (lambda all: [*all, all[0]], "has no place"),
        (lambda all: [entry(all[0][0].name.rpartition("/")[0], kind=tarfile.DIRTYPE), *all], "does not begin with"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, kind=tarfile.SYMTYPE, link="/etc/passwd")], "no regular file"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, kind=tarfile.LNKTYPE, link="evil")], "no regular file"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, kind=tarfile.CHRTYPE)], "no regular file"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, kind=tarfile.FIFOTYPE)], "no regular file"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, all[-1][1] + b"x")], "belong there"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, bytes(len(all[-1][1])))], "its SHA-256 differs"),
        (lambda all: [*all[:-1], entry(all[-1][0].name, b"x")], "its SHA-256 differs"),
        (lambda all: all[:-1], "is missing"),
        (lambda all: all[1:], "does not begin with a version's manifest"),
        (lambda all: [], "does not begin with a version's manifest"),
        (lambda all: [entry(f"models/{all[0][0].name}", all[0][1])], "does not begin with"),
        (lambda all: [entry(all[0][0].name.replace("20", "19", 1), all[0][1])], "is that of"),
        (lambda all: [entry(all[0][0].name, b" " * 2**23)], "belong there"),
        (lambda all: [entry(all[0][0].name, b"[" * 100_000)], "not a manifest"),
    ],
)
def test_anything_but_the_files_of_the_manifest_is_refused(
    archive: Path, change: Callable[[list[Entry]], list[Entry]], words: str
) -> None:
    with pytest.raises(ArtefactError, match=words):
        read_archive(changed(archive, change), "houses")


@pytest.mark.parametrize("name", ["../../evil", "/evil", "sub/evil", "..", ".evil", "manifest.json", "x" * 300])
def test_a_manifest_that_names_other_places_is_not_believed(archive: Path, name: str) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        folder = entries[0][0].name.rpartition("/")[0]
        return [*named_by_the_manifest(entries, name, b"x"), entry(f"{folder}/{name}")]

    with pytest.raises(ArtefactError, match="has no place"):
        read_archive(changed(archive, change), "houses")


@pytest.mark.parametrize(("size", "words"), [(2**60, "no archive of a model"), (-512, "belong there")])
def test_a_size_that_is_a_lie_takes_neither_memory_nor_time(archive: Path, size: int, words: str) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        manifest = json.loads(entries[0][1])
        manifest["files"]["model.joblib"]["size"] = abs(size)
        return [entry(entries[0][0].name, json.dumps(manifest).encode()), *entries[1:]]

    changed(archive, change)
    content = archive.read_bytes()
    at = content.index(b"/model.joblib\0") // 512 * 512
    header = tarfile.TarInfo.frombuf(content[at : at + 512], "utf-8", "strict")
    header.size = size
    archive.write_bytes(content[:at] + header.tobuf(tarfile.GNU_FORMAT) + content[at + 512 :])
    with pytest.raises(ArtefactError, match=words):
        read_archive(archive, "houses")


def test_a_pickle_in_a_tampered_archive_is_never_opened(archive: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    evil = f"cos\nsystem\n(S'touch {proof}'\ntR.".encode()
    changed(archive, lambda all: [entry(e.name, evil) if e.name.endswith("model.joblib") else (e, c) for e, c in all])
    with pytest.raises(ArtefactError):
        read_archive(archive, "houses")
    assert not proof.exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[:3000], lambda b: b[: len(b) // 2], gzip.compress, lambda b: b"", bytes]
)
def test_what_is_cut_compressed_or_empty_is_no_archive(archive: Path, damage: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(damage(archive.read_bytes()) if damage is not bytes else b"PK\3\4" * 2000)
    with pytest.raises(ArtefactError):
        read_archive(archive, "houses")


def test_another_projects_model_and_a_file_that_is_not_there_are_refused(archive: Path) -> None:
    with pytest.raises(ArtefactError, match="belongs to project 'houses', this is 'boats'"):
        read_archive(archive, "boats")
    with pytest.raises(ArtefactError, match="No such file"):
        read_archive(archive.with_name("other.tar"), "houses")
