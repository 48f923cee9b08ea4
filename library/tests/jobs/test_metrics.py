"""What `/metrics` says of jobs."""

import socket
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from ml_microservice.api.app import create_app
from ml_microservice.api.jobs_metrics import JobsMetrics
from ml_microservice.settings import Settings, load_settings
from tests.jobs.stored_jobs import Clock, claim, open_store, stored


def told(metrics: JobsMetrics) -> dict[str, float]:
    text = metrics.exposition().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {",".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape waits for as long as it takes to read."""
    monkeypatch.setattr("ml_microservice.api.jobs_metrics.WAIT_SECONDS", 60)


@pytest.fixture
def read_always(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scrape reads."""
    monkeypatch.setattr("ml_microservice.api.jobs_metrics.FRESH_SECONDS", 0)


def test_the_metrics_are_those_of_the_rows(database_settings: Settings, read_always: None) -> None:
    metrics = JobsMetrics(database_settings)
    assert told(metrics) == {}  # there are no tables yet
    store = open_store(database_settings, Clock())
    assert told(metrics)["jobs_in_state,queued"] == 0
    stored(store)
    large = stored(store, 3)
    claim(store, large, 0)
    claim(store, large, 0, redelivered=True)
    (chunk,) = claim(store, stored(store), 0).chunks
    store.fail(chunk, {"type": "x", "status": 500})
    (chunk,) = claim(store, stored(store), 0).chunks
    store.fail(chunk, {"type": "x", "status": 422})
    now = told(metrics)
    assert now.pop("jobs_oldest_queued_seconds") > 0
    assert now == {
        "jobs_database_up": 1,
        "jobs_in_state,queued": 1,
        "jobs_in_state,running": 1,
        "jobs_in_state,succeeded": 0,
        "jobs_in_state,failed": 2,
        "jobs_in_state,cancelled": 0,
        "jobs_chunks,queued": 3,
        "jobs_chunks,running": 1,
        "jobs_dead_letters,service": 1,
        "jobs_dead_letters,caller": 1,
        "jobs_retries": 1,
    }
    store.close()


def test_the_database_is_not_read_for_every_scrape(database_settings: Settings, patient: None) -> None:
    store = open_store(database_settings, Clock())
    metrics = JobsMetrics(database_settings)
    first = told(metrics)
    stored(store)
    assert told(metrics) == first
    store.close()


def test_a_database_that_is_away_does_not_fail_a_scrape(tmp_path: Path, read_always: None) -> None:
    (tmp_path / "config.yaml").write_text("name: houses\n")
    with socket.socket() as refuses:
        refuses.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://nobody@127.0.0.1:{refuses.getsockname()[1]}/none"
        metrics = JobsMetrics(load_settings(tmp_path, {"SERVICE__DATABASE__URL": url}))
        assert told(metrics) == {"jobs_database_up": 0}


def test_a_scrape_does_not_wait_for_a_database_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_microservice.api.jobs_metrics.WAIT_SECONDS", 0.1)
    (tmp_path / "config.yaml").write_text("name: houses\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        metrics = JobsMetrics(load_settings(tmp_path, {"SERVICE__DATABASE__URL": url}))
        assert told(metrics) == {}
        assert metrics._reading is not None
        assert metrics._reading.is_alive()


def test_the_service_tells_them_among_its_own(project: Path, patient: None) -> None:
    settings = load_settings(project, {})
    store = open_store(settings, Clock())
    stored(store)
    store.close()
    with TestClient(create_app(settings)) as client:
        text = client.get("/metrics").text
    assert 'jobs_in_state{state="queued"} 1.0' in text
    assert "records_lag_records" in text
    without = load_settings(project, {"SERVICE__JOBS__BROKER": ""})
    with TestClient(create_app(without)) as client:
        assert "jobs_in_state" not in client.get("/metrics").text
