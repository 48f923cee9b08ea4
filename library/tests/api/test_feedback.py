"""Feedback over HTTP: checked in the model's words, in the local journal before it is answered, last write wins."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.features.feedback import build_feedback_model
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.feedback import ReceivedStamps
from ml_microservice.records.database.store import open_store
from ml_microservice.records.record import FeedbackRecord, Record, records_in
from ml_microservice.records.sinks.database import DatabaseSink
from ml_microservice.settings import Settings, load_settings

PROBLEM = "application/problem+json"


def recorded(settings: Settings) -> list[Record]:
    """What is in the local segments."""
    found: list[Record] = []
    for segment in sorted((settings.records_directory / "segments").glob("*.jsonl")):
        for line in segment.read_bytes().splitlines()[1:]:
            found += records_in(line)
    return found


def feedback(settings: Settings) -> list[FeedbackRecord]:
    return [record for record in recorded(settings) if isinstance(record, FeedbackRecord)]


@pytest.fixture
def settings(project: Path) -> Settings:
    """Settings of a project whose records are its own."""
    return load_settings(project, {"SERVICE__RECORDS__SHIPPING": "separate"})


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Its service."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_feedback_is_in_the_journal_when_it_is_answered(
    client: TestClient, settings: Settings, house: dict[str, Any]
) -> None:
    prediction_id = client.post("/predict", json=house).json()["prediction_id"]
    before = datetime.now(UTC) - timedelta(seconds=1)
    sent = {"prediction_id": prediction_id, "label": "no", "observed_at": "2026-01-31T14:00+02:00", "source": "agent"}
    answer = client.post("/feedback", json=sent)
    assert answer.status_code == 202
    (record,) = feedback(settings)
    assert answer.json() == {
        "feedback_id": record.feedback_id,
        "prediction_id": prediction_id,
        "received_at": record.received_at,
    }
    assert (record.prediction_id, record.label, record.source) == (prediction_id, "no", "agent")
    assert record.observed_at == "2026-01-31T12:00:00.000+00:00"
    assert before < datetime.fromisoformat(record.received_at) < datetime.now(UTC) + timedelta(seconds=1)


def test_feedback_to_a_prediction_that_is_not_known_is_taken(client: TestClient, settings: Settings) -> None:
    unknown = str(uuid4())
    assert client.post("/feedback", json={"prediction_id": unknown.upper(), "label": "yes"}).status_code == 202
    assert [record.prediction_id for record in feedback(settings)] == [unknown]


def test_in_a_list_each_stands_for_itself(client: TestClient, settings: Settings) -> None:
    ids = [str(uuid4()) for _ in range(3)]
    sent = [
        {"prediction_id": ids[0], "label": "yes"},
        {"prediction_id": ids[1], "label": "maybe"},
        5,
        {"prediction_id": ids[2], "label": "no"},
    ]
    answer = client.post("/feedback", json=sent)
    assert answer.status_code == 202
    document = answer.json()
    assert document["failed"] == 2
    assert [entry.get("prediction_id") for entry in document["feedback"]] == [ids[0], None, None, ids[2]]
    assert document["feedback"][1]["error"]["errors"] == [
        {"pointer": "#/label", "rule": "values", "message": "label must be one of 'no', 'yes'"}
    ]
    assert [record.prediction_id for record in feedback(settings)] == [ids[0], ids[2]]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"label": "Yes"}, "label must be one of 'no', 'yes'"),
        ({"label": True}, "label must be one of 'no', 'yes'"),
        ({"label": None}, "label must be one of 'no', 'yes'"),
        ({"prediction_id": "12"}, "prediction_id must be the UUID"),
        ({"observed_at": "yesterday"}, "observed_at must be a date and time"),
        ({"observed_at": "0001-01-01T00:00:00+14:00"}, "observed_at must be a date and time"),
        ({"observed_at": "1767225600"}, "observed_at must be a date and time"),
        ({"source": "a\0b"}, "source must be text"),
        ({"source": "x" * 201}, "source must be text"),
        ({"lable": "yes"}, "did you mean 'label'?"),
    ],
)
def test_a_rule_that_is_broken_is_told(
    client: TestClient, settings: Settings, changed: dict[str, Any], rule: str
) -> None:
    answer = client.post("/feedback", json={"prediction_id": str(uuid4()), "label": "yes", **changed})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["type"] == "urn:problem-type:invalid-feedback"
    assert rule in answer.json()["errors"][0]["message"]
    assert feedback(settings) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[", b"[{]", b'[{"label": NaN}]', b"\xff", b'["\\ud800"]'])
def test_what_is_not_json_is_422(client: TestClient, body: bytes) -> None:
    answer = client.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:invalid-json")


def test_a_number_is_asked_for_where_a_number_is_predicted() -> None:
    features = [{"name": "a", "type": "float"}]
    spec = FeatureSpec.model_validate({"task": "regression", "target": "price", "features": features})
    model = build_feedback_model(spec, ())
    sent: dict[str, Any] = {"prediction_id": str(uuid4())}
    for label in (3, -2.5, 1e300):
        assert model.model_validate_json(json.dumps({**sent, "label": label})).label == label  # type: ignore[attr-defined]
    for wrong in ("3", True, None, "Infinity", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="label"):
            model.model_validate_json(json.dumps({**sent, "label": wrong}))


def test_the_last_feedback_counts_also_within_a_millisecond(client: TestClient, settings: Settings) -> None:
    prediction_id = str(uuid4())
    labels = ["yes", "no"] * 50
    client.post("/feedback", json=[{"prediction_id": prediction_id, "label": label} for label in labels])
    client.post("/feedback", json={"prediction_id": prediction_id, "label": "yes"})
    records = feedback(settings)
    assert len(records) == 101  # the history is kept
    in_order = sorted(records, key=lambda record: (record.received_at, record.feedback_id))
    assert [record.label for record in in_order] == [*labels, "yes"]
    assert {UUID(record.feedback_id).version for record in records} == {7}


def test_what_is_received_at_once_gets_different_ids() -> None:
    stamps = ReceivedStamps()
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: stamps.next(), range(2_000)))
    assert len({one for one, _ in made}) == 2_000


def test_feedback_arrives_in_the_database_and_before_its_prediction_too(
    client: TestClient, settings: Settings, house: dict[str, Any]
) -> None:
    prediction_id = client.post("/predict", json=house).json()["prediction_id"]
    for label in ("no", "yes", "no"):
        client.post("/feedback", json={"prediction_id": prediction_id, "label": label})
    sink = DatabaseSink(settings)
    ahead, behind = feedback(settings), [one for one in recorded(settings) if not isinstance(one, FeedbackRecord)]
    sink.send(ahead)
    sink.send(behind)
    with open_store(settings) as store:
        (judged,) = store.judged(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    assert (judged.prediction, judged.label) == ("yes", "no")


def test_a_key_is_needed_where_keys_are_set(settings: Settings) -> None:
    secured = load_settings(settings.root, {"SERVICE__API__KEYS": "s3cret"})
    sent = {"prediction_id": str(uuid4()), "label": "yes"}
    with TestClient(create_app(secured)) as client:
        assert client.post("/feedback", json=sent).status_code == 401
        assert client.get("/monitoring/performance").status_code == 401
        assert client.post("/feedback", json=sent, headers={"x-api-key": "s3cret"}).status_code == 202


def test_too_long_a_list_and_another_media_type_are_refused(settings: Settings) -> None:
    limited = load_settings(settings.root, {"SERVICE__API__MAX_BATCH_ROWS": "2"})
    sent = {"prediction_id": str(uuid4()), "label": "yes"}
    with TestClient(create_app(limited)) as client:
        assert client.post("/feedback", json=[sent] * 3).status_code == 413
        assert client.post("/feedback", content=b"a=1", headers={"content-type": "text/plain"}).status_code == 415


def test_where_nothing_is_recorded_there_is_no_feedback(settings: Settings) -> None:
    records = settings.records.model_copy(update={"sinks": ()})
    with TestClient(create_app(settings.model_copy(update={"records": records}))) as client:
        answer = client.post("/feedback", json={"prediction_id": str(uuid4()), "label": "yes"})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:problem-type:no-records")


def test_feedback_that_cannot_be_stored_is_not_taken_even_where_predictions_go_on(settings: Settings) -> None:
    records = settings.records.model_copy(update={"when_full": "serve_unlogged"})
    with TestClient(create_app(settings.model_copy(update={"records": records}))) as client:
        app: Any = client.app
        app.app.state.journal.close()
        answer = client.post("/feedback", json={"prediction_id": str(uuid4()), "label": "yes"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem-type:record-not-stored")


def test_a_long_list_does_not_hold_up_others(client: TestClient, settings: Settings) -> None:
    sent = [{"prediction_id": str(uuid4()), "label": "yes"} for _ in range(5_000)]
    answers: list[int] = []
    long = threading.Thread(target=lambda: answers.append(client.post("/feedback", json=sent).status_code))
    long.start()
    assert client.get("/health/live").status_code == 200
    long.join()
    assert answers == [202]
    assert len(feedback(settings)) == 5_000


def test_the_document_names_the_classes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/feedback"]["post"]
    assert {"202", "404", "413", "415", "422", "503"} <= operation["responses"].keys()
    label = document["components"]["schemas"]["Feedback"]["properties"]["label"]
    assert label["enum"] == ["no", "yes"]
    performance = document["paths"]["/monitoring/performance"]["get"]
    assert [parameter["name"] for parameter in performance["parameters"]] == ["window", "model_version"]
    assert performance["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Performance")
