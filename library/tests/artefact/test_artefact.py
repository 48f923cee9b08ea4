"""A model version is written whole or not at all, and read only if it is exactly what was written."""

import json
import os
from pathlib import Path

import pytest

from ml_microservice.artefact.reader import read_artefact
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ArtefactError
from ml_microservice.inference.served_model import load_served_model

VERSION = "20260101-000000-abcdef"


def store(project: Path) -> ArtefactStore:
    """The project's models."""
    return ArtefactStore(project / "model_bin")


def current(project: Path) -> Path:
    """The folder of the project's one model."""
    return store(project).path("current")


def test_a_version_is_loaded_with_its_manifest_and_golden_rows(project: Path) -> None:
    artefact = read_artefact(current(project), "houses")
    assert artefact.manifest.version == current(project).name
    assert artefact.manifest.classes == ("no", "yes")
    assert len(artefact.golden) == 20
    assert artefact.manifest.created_at.tzinfo is not None


@pytest.mark.parametrize("name", ["model.joblib", "preprocessor.joblib", "schema.json", "golden.json", "report.html"])
def test_a_changed_file_is_refused_before_anything_is_unpickled(project: Path, name: str) -> None:
    path = current(project) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"{name}: is not the file that training wrote"):
        read_artefact(current(project), "houses")


def test_a_pickle_that_runs_code_is_never_opened(project: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    evil = f"cos\nsystem\n(S'touch {proof}'\ntR.".encode()
    (current(project) / "model.joblib").write_bytes(evil)
    with pytest.raises(ArtefactError):
        read_artefact(current(project), "houses")
    assert not proof.exists()


def test_a_cut_a_missing_and_an_added_file_are_all_named_at_once(project: Path) -> None:
    folder = current(project)
    os.truncate(folder / "model.joblib", 100)
    (folder / "golden.json").unlink()
    (folder / "extra.py").write_text("")
    with pytest.raises(ArtefactError) as caught:
        read_artefact(folder, "houses")
    assert {Path(str(fault.file)).name for fault in caught.value.faults} == {"model.joblib", "golden.json", "extra.py"}


def test_another_projects_model_is_refused(project: Path) -> None:
    with pytest.raises(ArtefactError, match="belongs to project 'houses', this is 'boats'"):
        read_artefact(current(project), "boats")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1}', "\0"])
def test_a_damaged_manifest_is_refused(project: Path, content: str) -> None:
    (current(project) / "manifest.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"manifest\.json"):
        read_artefact(current(project), "houses")


def test_a_model_that_no_longer_gives_its_golden_answers_is_refused(project: Path) -> None:
    folder = current(project)
    rows = json.loads((folder / "golden.json").read_text())
    rows[0]["prediction"] = "no" if rows[0]["prediction"] == "yes" else "yes"
    replace_consistently(folder, "golden.json", json.dumps(rows))
    with pytest.raises(ArtefactError, match="1 of 20 golden rows are answered otherwise"):
        load_served_model(folder, "houses", "house id")


def test_an_entity_id_that_is_a_feature_of_the_model_is_refused(project: Path) -> None:
    with pytest.raises(ArtefactError, match="'lift' is a feature"):
        load_served_model(current(project), "houses", "lift")


def test_a_version_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    models = ArtefactStore(tmp_path)
    with pytest.raises(TypeError):
        models.write(VERSION, {"manifest.json": b"{}", "model.joblib": None})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []
    models.write(VERSION, {"manifest.json": b"{}"})
    assert models.versions() == [VERSION]


def test_the_pointer_only_moves_to_a_version_that_exists(project: Path) -> None:
    before = store(project).current()
    with pytest.raises(ArtefactError, match="there is no model version"):
        store(project).point_to(VERSION)
    assert store(project).current() == before


@pytest.mark.parametrize("name", ["../houses", "nonsense", VERSION])
def test_a_version_that_is_not_there_is_refused_with_those_that_are(project: Path, name: str) -> None:
    with pytest.raises(ArtefactError, match=f"there are: {store(project).current()}"):
        store(project).path(name)


def test_nothing_trained_yet_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="make train"):
        ArtefactStore(tmp_path / "model_bin").path("current")


def replace_consistently(folder: Path, name: str, text: str) -> None:
    """Change a file and its digest: what somebody would do who may write both."""
    from ml_microservice.artefact.manifest import FileDigest

    (folder / name).write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = FileDigest.of(text.encode()).model_dump()
    (folder / "manifest.json").write_text(json.dumps(manifest))
