"""`ml-service jobs`, on SQLite and PostgreSQL."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml_microservice.cli import app
from ml_microservice.errors import ServiceError
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.settings import Settings
from tests.jobs.stored_jobs import claim, finished, run, stored

Command = Callable[..., str]


@pytest.fixture
def command(database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `ml-service jobs ...` in the project; what it prints."""
    monkeypatch.setenv("SERVICE_ROOT", str(database_settings.root))
    monkeypatch.setenv("SERVICE__DATABASE__URL", database_settings.database.url)

    def called(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["jobs", *arguments])
        if isinstance(done.exception, ServiceError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return called


def failed(store: JobStore, chunks: int = 1) -> str:
    job_id = stored(store, chunks)
    problem = {"type": "urn:problem-type:model-failed", "title": "The model failed"}
    store.fail(claim(store, job_id, chunks - 1).chunks[0], problem)
    return job_id


def test_jobs_are_listed_and_shown(command: Command, store: JobStore) -> None:
    assert "There are none" in command("list")
    waiting, dead = stored(store), failed(store)
    listed = command("list")
    assert waiting in listed
    assert "The model failed" in listed
    assert dead not in command("list", "--state", "queued")
    assert [job["job_id"] for job in json.loads(command("list", "--state", "queued", "--json"))] == [waiting]
    assert json.loads(command("show", dead))["problem"]["title"] == "The model failed"


def test_a_cancelled_job_is_no_more_run(command: Command, store: JobStore) -> None:
    job_id = stored(store, 2)
    run(store, job_id, 0)
    assert "10 of 20 rows" in command("cancel", job_id)
    assert not claim(store, job_id, 1).chunks
    done = stored(store)
    run(store, done, 0)
    with pytest.raises(ServiceError, match="has succeeded already"):
        command("cancel", done)


@pytest.mark.parametrize("words", [["show"], ["cancel"], ["dead", "retry"], ["dead", "drop"]])
def test_an_id_that_is_none_or_unknown_is_told(command: Command, words: list[str]) -> None:
    with pytest.raises(ServiceError, match="is no UUID"):
        command(*words, "nonsense")
    with pytest.raises(ServiceError, match="there is no job"):
        command(*words, "00000000-0000-0000-0000-000000000000")


def test_dead_letters_are_retried_and_sent_to_the_workers(
    command: Command, store: JobStore, database_settings: Settings
) -> None:
    one, large, other = failed(store), failed(store, 3), failed(store)
    assert len(json.loads(command("dead", "list", "--json"))) == 3
    assert "Queued 1 job again" in command("dead", "retry", one)
    assert "Queued 2 jobs again" in command("dead", "retry", "--all")
    queue = JobQueue(database_settings)
    assert queue.depth() == {"small": 2, "bulk": 3, "dead": 0}
    queue.close()
    assert {job.state for job in store.progress([one, large, other]).values()} == {"queued"}
    with pytest.raises(ServiceError, match="that has failed"):
        command("dead", "retry", one)
    with pytest.raises(ServiceError, match="either its id or --all"):
        command("dead", "retry")


def test_what_cannot_be_sent_when_it_is_retried_is_left_to_the_sweeper(
    command: Command, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = failed(store)
    monkeypatch.setenv("SERVICE__JOBS__BROKER", "redis://127.0.0.1:1/0")
    assert "Queued 1 job again" in command("dead", "retry", "--all")
    assert store.to_publish(queue_is_empty=False, limit=10) == [((job_id, 0), False)]


def test_dropped_jobs_are_gone_with_their_files(command: Command, store: JobStore, database_settings: Settings) -> None:
    storage = JobStorage(database_settings)
    dead, other, waiting = failed(store), failed(store), stored(store)
    for job_id in (dead, other, waiting):
        storage.write(job_id, "body-0", b"1")
    assert "Deleted 1 job" in command("dead", "drop", dead)
    assert sorted(storage.ids()) == sorted([other, waiting])
    assert "Deleted 1 job" in command("dead", "drop", "--all")
    assert storage.ids() == [waiting]
    assert [job.job_id for job in store.jobs(None, None, 10)] == [waiting]


def test_top_tells_what_waits_what_runs_and_how_fast(
    command: Command, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", False)
    stored(store)
    large = stored(store, 3)
    store.finish([finished(claim(store, large, 0).chunks[0])])
    claim(store, large, 1, worker="host-1")
    told = command("top", "--once")
    assert "chunks: 2 wait, 1 run, 0 attempts beyond the first" in told
    assert "host-1" in told
    assert large in told
    assert "messages: 0 small, 0 bulk, 0 dead" in told


def test_nothing_is_left_in_the_current_folder(
    command: Command, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    failed(store)
    command("dead", "retry", "--all")
    assert os.listdir(folder) == []
