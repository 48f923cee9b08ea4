"""Live performance is what training's evaluation says of the same rows, and the serving process never computes it."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.api.performance import FUNCTION, NAME
from ml_microservice.artefact.reader import read_manifest
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.evaluation import ClassificationDetails, evaluate_classification, evaluate_regression
from ml_microservice.monitoring.computation import LOCK, Computation
from ml_microservice.monitoring.performance import measure
from ml_microservice.monitoring.performance_result import ModelPerformance, Performance
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.settings import Settings, load_settings

NOW = datetime.now(UTC)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def prediction(answer: str | float, likely: dict[str, float] | None, version: str, age: timedelta) -> PredictionRecord:
    return PredictionRecord(
        str(uuid4()), iso(NOW - age), "predict", version, "m", None, {}, answer, likely, latency_ms=1.0
    )


def feedback(about: PredictionRecord, label: str | float, delay: timedelta) -> FeedbackRecord:
    received = iso(datetime.fromisoformat(about.time) + delay)
    return FeedbackRecord(str(uuid4()), about.prediction_id, label, None, None, received)


def recorded(settings: Settings, records: Sequence[Record]) -> None:
    sink = DatabaseSink(settings)
    sink.send(records)
    sink.close()


def measured(settings: Settings, hours: float = 24, version: str | None = None) -> Performance:
    return measure(settings, NOW - timedelta(hours=hours), NOW + timedelta(minutes=1), version)


@pytest.fixture
def settings(project: Path) -> Settings:
    """Settings of a trained project without records."""
    return load_settings(project, {})


@pytest.fixture
def version(settings: Settings) -> str:
    """The version of its model."""
    return ArtefactStore(settings.model_directory).versions()[-1]


@pytest.fixture
def truth_and_chance(settings: Settings, version: str) -> tuple[Any, Any]:
    """200 recorded predictions with feedback, and 100 without, of the served version: truth and probability of yes."""
    random = np.random.default_rng(3)
    chance = random.uniform(0, 1, 200)
    truth = (random.uniform(0, 1, 200) < chance).astype(np.intp)
    records: list[Record] = []
    for label, p in zip(truth, chance.tolist(), strict=True):
        given = prediction("yes" if p > 0.5 else "no", {"no": 1 - p, "yes": p}, version, timedelta(hours=2))
        records += [given, feedback(given, ("no", "yes")[label], timedelta(minutes=10))]
    records += [prediction("no", {"no": 0.9, "yes": 0.1}, version, timedelta(hours=1)) for _ in range(100)]
    recorded(settings, records)
    return truth, chance


def test_a_classifier_is_scored_as_in_training(
    settings: Settings, version: str, truth_and_chance: tuple[Any, Any]
) -> None:
    truth, chance = truth_and_chance
    predicted = (chance > 0.5).astype(np.intp)
    expected = evaluate_classification(truth, predicted, np.column_stack([1 - chance, chance]), ("no", "yes"), truth)
    (model,) = measured(settings).models
    assert model.metrics == pytest.approx(expected.metrics)
    assert isinstance(expected.details, ClassificationDetails)
    assert model.calibration_error == pytest.approx(expected.details.calibration_error)
    assert [row.rows for row in model.calibration] == [item.rows for item in expected.details.calibration]
    assert (model.predictions, model.with_feedback, model.judged) == (300, 200, 200)
    assert model.coverage == pytest.approx(2 / 3)
    assert model.training_metrics == read_manifest(settings.model_directory / version).metrics
    assert model.feedback_delay_seconds is not None
    assert model.feedback_delay_seconds.median == pytest.approx(600)
    assert model.notes == ()


def test_a_regressor_is_scored_as_in_training(settings: Settings) -> None:
    random = np.random.default_rng(4)
    truth = random.normal(100, 20, 50)
    predicted = truth + random.normal(0, 5, 50)
    given = [prediction(float(value), None, "20260101-000000-abcdef", timedelta(hours=1)) for value in predicted]
    recorded(settings, given)
    recorded(settings, [feedback(one, float(t), timedelta(1)) for one, t in zip(given, truth, strict=True)])
    (model,) = measured(settings).models
    assert model.metrics == pytest.approx(evaluate_regression(truth, predicted, truth).metrics)
    assert model.training_metrics is None  # that version is not here
    assert model.calibration == ()


def test_versions_and_windows_are_told_apart(settings: Settings) -> None:
    records: list[Record] = []
    for name, age, label in (("a", 1, "yes"), ("b", 2, "no"), ("b", 30, "yes")):
        given = prediction("yes", {"yes": 0.8, "no": 0.2}, name, timedelta(hours=age))
        records += [given, feedback(given, "no", timedelta(minutes=1)), feedback(given, label, timedelta(minutes=2))]
    recorded(settings, records)

    def accuracies(performance: Performance) -> dict[str, tuple[int, float | None]]:
        return {model.model_version: (model.predictions, model.metrics["accuracy"]) for model in performance.models}

    assert accuracies(measured(settings)) == {"a": (1, 1.0), "b": (1, 0.0)}
    assert accuracies(measured(settings, hours=48)) == {"a": (1, 1.0), "b": (2, 0.5)}
    assert accuracies(measured(settings, version="a")) == {"a": (1, 1.0)}


def test_what_cannot_be_computed_is_left_out_and_said(settings: Settings, version: str) -> None:
    def one(label: str | float, likely: dict[str, float] | None) -> ModelPerformance:
        given = prediction("yes", likely, version, timedelta(hours=1))
        recorded(settings, [given, feedback(given, label, timedelta(minutes=1))])
        return measured(settings).models[0]

    likeliest = one("yes", {"yes": 0.75})  # records.n_best is 1: of two classes, the other has the rest
    assert likeliest.metrics["log_loss"] == pytest.approx(-np.log(0.75))
    assert likeliest.metrics["roc_auc"] is None
    unknown = one("sold already", {"yes": 0.5, "no": 0.5})
    assert unknown.metrics["accuracy"] == 0.5
    assert unknown.notes == ("labels that the model does not know count as wrong: sold already",)
    other = one(3.5, {"yes": 0.5, "no": 0.5})
    assert (other.judged, other.with_feedback) == (2, 3)
    assert "1 labels are of another kind than the predictions: left out" in other.notes


def test_of_many_classes_the_best_alone_give_no_log_loss(settings: Settings) -> None:
    given = prediction("a", {"a": 0.5}, "gone", timedelta(hours=1))
    other = prediction("b", {"b": 0.4, "c": 0.3}, "gone", timedelta(hours=1))
    recorded(settings, [given, other, *(feedback(one, "c", timedelta(1)) for one in (given, other))])
    (model,) = measured(settings).models
    assert "log_loss" not in model.metrics
    assert model.metrics["accuracy"] == 0
    assert model.notes == ("without the probabilities of all classes there is no log_loss: raise records.n_best",)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The service of the project."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.slow
@pytest.mark.usefixtures("truth_and_chance")
def test_the_service_answers_what_another_process_computed(client: TestClient, settings: Settings) -> None:
    answer = client.get("/monitoring/performance", params={"window": "7d"})
    assert answer.status_code == 200
    told = Performance.model_validate(answer.json())
    assert told.models == measured(settings).models
    recorded(settings, [prediction("no", None, "later", timedelta(hours=1))])
    assert client.get("/monitoring/performance", params={"window": "7d"}).json() == answer.json()  # kept
    other = client.get("/monitoring/performance", params={"window": "7d", "model_version": "later"}).json()
    assert [model["model_version"] for model in other["models"]] == ["later"]


@pytest.mark.slow
@pytest.mark.usefixtures("truth_and_chance")
def test_a_scrape_has_the_metrics_computed_and_does_not_wait_for_them(client: TestClient, version: str) -> None:
    assert "model_live_metric{" not in client.get("/metrics").text
    for _ in range(300):
        text = client.get("/metrics").text
        if "model_live_metric{" in text:
            break
        time.sleep(0.1)
    assert f'model_live_metric{{metric="accuracy",model_version="{version}"}}' in text
    assert f'model_training_metric{{metric="accuracy",model_version="{version}"}}' in text
    assert f'model_feedback_coverage{{model_version="{version}"}} 0.66' in text
    assert 'monitoring_age_seconds{name="performance"}' in text


def test_without_a_single_record_there_is_no_model_to_tell_of(client: TestClient) -> None:
    assert client.get("/monitoring/performance").json()["models"] == []


def test_without_a_database_of_records_it_is_404(settings: Settings) -> None:
    records = settings.records.model_copy(update={"sinks": ("stdout",)})
    with TestClient(create_app(settings.model_copy(update={"records": records}))) as client:
        answer = client.get("/monitoring/performance")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:problem-type:no-records")
        assert "model_live" not in client.get("/metrics").text


@pytest.mark.parametrize("window", ["yesterday", "0h", "24", "999999w", ""])
def test_a_window_that_is_none_is_422(client: TestClient, window: str) -> None:
    answer = client.get("/monitoring/performance", params={"window": window})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:invalid-request")


def test_what_cannot_be_computed_is_503_and_in_the_log(
    client: TestClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.root / "var").mkdir(exist_ok=True)
    (settings.root / "var" / "records.db").write_text("not a database, but long enough to be taken for a header\n" * 9)
    answer = client.get("/monitoring/performance")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem-type:not-computed")
    assert "file is not a database" in caplog.text
    caplog.clear()
    assert client.get("/monitoring/performance").status_code == 503
    assert 'monitoring_age_seconds{name="performance"} +Inf' in client.get("/metrics").text
    assert "performance could not be computed" not in caplog.text  # it is not tried again at once, whoever asks


@pytest.mark.slow
def test_a_result_that_a_power_loss_has_halved_is_computed_again(client: TestClient, settings: Settings) -> None:
    computation = Computation(NAME, FUNCTION, {"window_seconds": 7 * 86_400.0, "model_version": None})
    settings.monitoring_directory.mkdir(parents=True, exist_ok=True)
    computation.file(settings).write_bytes(b'{"name":"performance","at":"2026-11-28T')
    answer = client.get("/monitoring/performance", params={"window": "7d"})
    assert (answer.status_code, answer.json()["models"]) == (200, [])
    assert orjson.loads(computation.file(settings).read_bytes())["result"] == answer.json()


@pytest.mark.slow
def test_questions_beyond_a_few_are_not_waited_for(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_microservice.monitoring.computation.MOST_WAITING", 1)
    settings.monitoring_directory.mkdir(parents=True, exist_ok=True)
    with (settings.monitoring_directory / LOCK).open("w") as lock, ThreadPoolExecutor(2) as callers:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that the one that is computed first is not done
        windows = ("1h", "2h")
        asked = [callers.submit(client.get, "/monitoring/performance", params={"window": one}) for one in windows]
        done, _ = wait(asked, return_when=FIRST_COMPLETED)
        fcntl.flock(lock, fcntl.LOCK_UN)
    (refused,) = (one.result() for one in done)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:problem-type:too-many-requests")
    assert sorted(one.result().status_code for one in asked) == [200, 429]


def test_serving_imports_nothing_that_computes() -> None:
    code = "import sys, ml_microservice.api.app; print(*(name for name in sys.modules if name in sys.argv))"
    forbidden = ["sqlalchemy", "alembic", "psycopg", "celery", "kombu", "sklearn", "pandas", "scipy", "matplotlib"]
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code, *forbidden], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
