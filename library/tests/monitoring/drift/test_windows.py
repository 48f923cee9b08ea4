"""Recorded predictions are compared on the command line and over HTTP, beside the model that gave them."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from ml_microservice.api.app import create_app
from ml_microservice.artefact.reference import REFERENCE
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.cli import app
from ml_microservice.errors import ArtefactError, ConfigError, ServiceError
from ml_microservice.inference.served_model import load_served_model
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.monitoring.drift.windows import measure_drift
from ml_microservice.records.record import PredictionRecord
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.settings import Settings, load_settings
from tests.conftest import HouseLoader

ROWS = 480
FEATURES = ("floor area", "class", "garden[ha]", "colour", "lift", "built", "view")


@pytest.fixture
def recorded(project: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project that has answered 480 houses within the last hours, all blue; four times those it was trained on."""
    monkeypatch.chdir(project)
    settings = load_settings(project, {})
    record_houses(settings, version_of(settings))
    return settings


def version_of(settings: Settings) -> str:
    version = ArtefactStore(settings.model_directory).current()
    assert version is not None
    return version


def record_houses(settings: Settings, version: str, start: int = 0) -> None:
    served = load_served_model(ArtefactStore(settings.model_directory).path("current"), settings.name, "house id")
    frame = HouseLoader().load_data()
    houses = [*frame.to_dict(orient="records")] * (ROWS // len(frame))
    for house in houses:
        house["colour"] = "blue"
    columns: dict[str, Any] = {name: [house[name] for house in houses] for name in FEATURES}
    answered = served.predictor.predict({**columns, "owner": [None] * ROWS})
    assert answered.probabilities is not None
    inputs = {**columns, "built": [moment.isoformat() for moment in columns["built"]]}
    inputs["garden[ha]"] = [None if garden != garden else garden for garden in inputs["garden[ha]"]]
    now = datetime.now(UTC)
    sink = DatabaseSink(settings)
    sink.send(
        [
            PredictionRecord(
                prediction_id=str(UUID(int=start + row + 1)),
                time=(now - timedelta(seconds=20 * (row + 1))).isoformat(timespec="milliseconds"),
                route="predict",
                model_version=version,
                model_id="m",
                entity_id=None,
                inputs={name: values[row] for name, values in inputs.items()},
                prediction=answered.values[row],
                probabilities=dict(zip(("no", "yes"), answered.probabilities[row].tolist(), strict=True)),
                latency_ms=1.0,
            )
            for row in range(ROWS)
        ]
    )
    sink.close()


@pytest.fixture
def client(recorded: Settings) -> Iterator[TestClient]:
    """The service of that project."""
    with TestClient(create_app(recorded)) as client:
        yield client


def test_a_window_is_compared_with_the_reference_of_its_model(recorded: Settings) -> None:
    report = measure_drift(recorded)
    assert (report.rows, report.recorded, report.model_version) == (ROWS, ROWS, version_of(recorded))
    assert [drift.name for drift in report.alarms] == ["colour"]
    assert report.not_compared == {"owner": "personal data, of which training keeps no reference"}


def test_records_of_other_versions_are_left_out(recorded: Settings) -> None:
    record_houses(recorded, "20200101-000000-abcdef", start=ROWS)
    assert measure_drift(recorded).recorded == ROWS


def test_a_window_without_records_has_too_few(recorded: Settings) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    report = measure_drift(recorded, long_ago, long_ago + timedelta(days=1))
    assert report.status == "too_few_rows"
    assert report.not_compared.keys() == {"owner"}  # of the others, nothing is known


def test_a_name_to_ignore_that_is_no_feature_is_told(recorded: Settings) -> None:
    settings = load_settings(recorded.root, {"SERVICE__MONITORING__IGNORE": "colur"})
    with pytest.raises(ConfigError, match=r"'colur', which is no feature.*did you mean 'colour'"):
        measure_drift(settings)


def test_the_command_prints_a_table_writes_a_page_and_fails_a_pipeline(recorded: Settings, tmp_path: Path) -> None:
    page = tmp_path / "drift.html"
    result = CliRunner().invoke(app, ["drift", "--window", "1d", "--html", str(page), "--fail-on-drift"])
    assert result.exit_code == 3
    assert "“blue” is 100" in page.read_text()
    assert "owner" in page.read_text()
    assert not any(name in page.read_text() for name in ("Ada", "Bob"))


def test_the_command_prints_json(recorded: Settings) -> None:
    result = CliRunner().invoke(app, ["drift", "--json"])
    assert result.exit_code == 0
    assert DriftReport.from_bytes(result.stdout_bytes).status == "drift"


def test_the_command_says_what_it_cannot_take(recorded: Settings) -> None:
    for arguments, words in (
        (["--window", "soon"], "'soon' is not a whole number"),
        (["--window", "1d", "--since", "2026-01-01"], "both say when to start"),
    ):
        error = CliRunner().invoke(app, ["drift", *arguments]).exception
        assert isinstance(error, ServiceError)
        assert words in str(error)


def test_the_service_answers_the_drift_of_its_model(client: TestClient, recorded: Settings) -> None:
    report = DriftReport.from_bytes(client.get("/monitoring/drift").content)
    assert [drift.name for drift in report.alarms] == ["colour"]
    assert report.model_version == version_of(recorded)
    assert client.get("/monitoring/drift", params={"window": "soon"}).status_code == 422


def test_the_service_shows_drift_as_metrics(client: TestClient) -> None:
    client.get("/monitoring/drift")
    text = client.get("/metrics").text
    assert 'drift_alert{feature="colour",role="feature"} 1.0' in text
    assert 'drift_alert{feature="lift",role="feature"} 0.0' in text
    assert 'drift_psi{feature="colour",role="feature"}' in text
    assert f"drift_rows {ROWS}.0" in text


@pytest.mark.slow
def test_asking_for_metrics_has_the_drift_computed(client: TestClient) -> None:
    deadline = time.monotonic() + 60
    while "drift_rows" not in client.get("/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_model_without_a_reference_is_told_clearly(recorded: Settings) -> None:
    folder = ArtefactStore(recorded.model_directory).path("current")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][REFERENCE]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / REFERENCE).unlink()
    with pytest.raises(ArtefactError, match=r"has no reference.*train again"):
        measure_drift(recorded)
    with TestClient(create_app(recorded)) as client:
        answer = client.get("/monitoring/drift")
        assert answer.status_code == 404
        assert "train it again" in answer.json()["detail"]
        assert "drift_" not in client.get("/metrics").text
