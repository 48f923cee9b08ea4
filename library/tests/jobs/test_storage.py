"""The files of jobs, on a disk and where fsspec reaches."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from ml_microservice.errors import StorageError
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.settings import Settings, load_settings


def stored_at(root: Path, url: str) -> Settings:
    (root / "config.yaml").write_text("name: houses\n")
    return load_settings(root, {"SERVICE__JOBS__STORAGE": url})


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JobStorage:
    return JobStorage(stored_at(tmp_path, "files" if request.param == "folder" else f"memory://{uuid4().hex}/jobs"))


def test_what_is_written_can_be_read_by_name_and_is_replaced_by_what_is_written_again(storage: JobStorage) -> None:
    one, other = str(uuid4()), str(uuid4())
    storage.write(one, "body-0", b"\x00 first")
    storage.write(one, "body-1", b"second")
    storage.write(other, "body-0", b"")
    storage.write(one, "body-1", b"anew")
    assert storage.read(one, "body-0") == b"\x00 first"
    assert storage.read(one, "body-1") == b"anew"
    assert storage.read(other, "body-0") == b""
    assert sorted(storage.ids()) == sorted([one, other])


def test_removing_a_job_takes_all_its_files_and_no_others(storage: JobStorage) -> None:
    one, other = str(uuid4()), str(uuid4())
    storage.write(one, "body-0", b"1")
    storage.write(one, "result-0", b"2")
    storage.write(other, "body-0", b"3")
    storage.remove(one)
    storage.remove(one)
    with pytest.raises(FileNotFoundError):
        storage.read(one, "body-0")
    assert storage.ids() == [other]


def test_a_storage_that_was_never_written_to_is_empty(storage: JobStorage) -> None:
    assert storage.ids() == []
    storage.remove(str(uuid4()))
    with pytest.raises(FileNotFoundError):
        storage.read(str(uuid4()), "body-0")


def test_what_others_keep_beside_the_jobs_is_left_out(tmp_path: Path) -> None:
    settings = stored_at(tmp_path, "files")
    job_id = str(uuid4())
    JobStorage(settings).write(job_id, "body-0", b"1")
    (tmp_path / "files" / "mine").mkdir()
    (tmp_path / "files" / "notes.txt").write_text("mine, too")
    assert JobStorage(settings).ids() == [job_id]


def test_a_file_that_cannot_be_written_whole_does_not_appear(tmp_path: Path) -> None:
    settings = stored_at(tmp_path, "files")
    job_id = str(uuid4())
    storage = JobStorage(settings)
    with pytest.raises(StorageError, match=r"look at jobs\.storage"):
        storage.write(job_id, "body-0", "no bytes")  # type: ignore[arg-type]
    assert os.listdir(tmp_path / "files" / job_id) == []
    (tmp_path / "in the way").write_text("")
    with pytest.raises(StorageError, match="in the way"):
        JobStorage(stored_at(tmp_path, "in the way")).write(job_id, "body-0", b"1")


def test_a_storage_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        JobStorage(stored_at(tmp_path, "nowhere://bucket/jobs"))
