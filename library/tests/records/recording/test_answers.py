"""Every answer has its record: by every route and in every format, and what happens where there can be none."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.inference import bulk_response
from ml_microservice.records.record import PredictionRecord
from ml_microservice.settings import load_settings
from tests.bodies import CSV, NDJSON, TABLES, encode, table_in
from tests.waiting import until

INFER = "/v2/models/houses/infer"

HOUSE: dict[str, Any] = {
    "house id": "h1",
    "floor area": 300.0,
    "class": 4,
    "garden[ha]": 0.5,
    "colour": "red",
    "lift": True,
    "owner": "Ada Lovelace",
    "built": "1950-02-03T00:00:00Z",
    "view": [0.5, 1.0],
}
BARE: dict[str, Any] = {"floor area": 50.0, "lift": False}
WRONG: dict[str, Any] = {"floor area": 5000.0, "lift": False}
INPUTS: list[dict[str, Any]] = [
    {**{key: HOUSE[key] for key in HOUSE if key not in ("house id", "owner")}, "built": "1950-02-03T00:00:00+00:00"},
    {**BARE, "class": 3, "garden[ha]": None, "colour": None, "built": None, "view": [0.0, 0.0]},
]
"""What the model sees of both houses, in the order of the features, without what is personal."""


class Recording:
    """A service, and the folder of its records."""

    def __init__(self, project: Path, directory: Path, **variables: str) -> None:
        self.directory = directory
        names = {f"SERVICE__RECORDS__{name.upper()}": value for name, value in variables.items()}
        settings = load_settings(project, {"SERVICE__RECORDS__DIRECTORY": str(directory), **names})
        self.client = TestClient(create_app(settings), raise_server_exceptions=False)


@pytest.fixture
def service(trained_project: Path, tmp_path: Path) -> Iterator[Recording]:
    """A service that records as `config.yaml` comes."""
    service = Recording(trained_project, tmp_path)
    with service.client:
        yield service


def check(record: PredictionRecord, inputs: dict[str, Any], answer: dict[str, Any], route: str) -> None:
    """A record tells what was answered, and of what."""
    assert record.inputs == inputs
    assert list(record.inputs) == list(INPUTS[0])
    assert all(type(record.inputs[name]) is type(value) for name, value in inputs.items())
    assert (record.prediction, record.prediction_id) == (answer["prediction"], answer["prediction_id"])
    assert record.probabilities == pytest.approx(answer["probabilities"])
    assert record.route == route
    assert record.latency_ms > 0


def test_a_prediction_is_recorded_as_it_was_answered(service: Recording, read: Any) -> None:
    answers = [service.client.post("/predict", json=row).json() for row in (HOUSE, BARE)]
    assert service.client.post("/predict", json=WRONG).status_code == 422
    records = read(service.directory)
    for record, inputs, answer in zip(records, INPUTS, answers, strict=True):
        check(record, {**INPUTS[0], **inputs}, answer, "predict")
        assert record.time == answer["timestamp"]
        assert (record.model_version, record.model_id) == (answer["model_version"], answer["model_id"])
    assert [record.entity_id for record in records] == ["h1", None]


def test_the_route_that_fastapi_answers_records_too(service: Recording, read: Any) -> None:
    answer = service.client.post("/predict", json=HOUSE, headers={"origin": "https://example.com"}).json()
    [record] = read(service.directory)
    check(record, INPUTS[0], answer, "predict")


@pytest.mark.parametrize("media_type", ["application/json", NDJSON, *TABLES])
def test_bulk_answers_of_every_format_are_recorded_without_rows_that_fail(
    service: Recording, read: Any, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    monkeypatch.setattr(bulk_response, "SLICE_ROWS", 2)
    rows = [{**HOUSE}, {**WRONG}, {**BARE}]
    if media_type == CSV:
        rows[0]["view"], rows[0]["lift"] = json.dumps(HOUSE["view"]), "true"
        rows[1]["lift"] = rows[2]["lift"] = "false"
    headers = {"content-type": media_type, "accept": "application/json"}
    response = service.client.post("/predict/batch", content=encode(rows, media_type), headers=headers)
    given = response.json()["predictions"]
    assert ["error" in answer for answer in given] == [False, True, False], given
    records = read(service.directory)
    for record, inputs, answer in zip(records, INPUTS, (given[0], given[2]), strict=True):
        check(record, {**INPUTS[0], **inputs}, answer, "batch")
        assert record.time == response.json()["timestamp"]
    assert [record.entity_id for record in records] == ["h1", None]


def tensors(*rows: dict[str, Any]) -> dict[str, Any]:
    """Rows in the Open Inference Protocol."""
    kinds = {"floor area": "FP64", "lift": "BOOL"}
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, kind in kinds.items()
        ]
    }


@pytest.mark.parametrize("count", [1, 3])
def test_inference_by_the_protocol_is_recorded(service: Recording, read: Any, count: int) -> None:
    answer = service.client.post(INFER, json=tensors(*[BARE] * count)).json()
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    records = read(service.directory)
    assert [record.prediction_id for record in records] == outputs["prediction_id"]
    assert [record.inputs for record in records] == [{**INPUTS[0], **INPUTS[1]}] * count
    assert {record.route for record in records} == {"infer"}


def test_nothing_is_recorded_of_a_protocol_request_of_which_a_row_fails(service: Recording, read: Any) -> None:
    assert service.client.post(INFER, json=tensors(BARE, WRONG)).status_code == 400
    assert read(service.directory) == []


def test_personal_data_is_in_no_file(service: Recording) -> None:
    service.client.post("/predict", json=HOUSE)
    service.client.post("/predict/batch", json=[HOUSE, HOUSE])
    found = b"".join(path.read_bytes() for path in service.directory.rglob("*") if path.is_file())
    assert b"floor area" in found
    assert b"Lovelace" not in found


def test_without_sinks_nothing_is_recorded(trained_project: Path, tmp_path: Path) -> None:
    service = Recording(trained_project, tmp_path, sinks="")
    with service.client as client:
        assert "logged" not in client.post("/predict", json=HOUSE).json()
        assert client.post("/predict/batch", json=[HOUSE]).json()["failed"] == 0
    assert list(tmp_path.iterdir()) == []


def test_records_are_counted(service: Recording) -> None:
    def value(name: str) -> float:
        text = service.client.get("/metrics").text
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))

    before = value("records_appended_total")
    service.client.post("/predict/batch", json=[HOUSE, BARE, WRONG])
    for _ in range(500):
        if value("records_appended_total") > before:
            break
        time.sleep(0.02)
    assert value("records_appended_total") == before + 2
    assert value("records_waiting_bytes") > 0
    assert value("records_full") == 0


# Full disks -----------------------------------------------------------------------------------------------------------


def fill(disk: Path) -> Path:
    """A file that takes all the space of a disk."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


def ask_until(client: TestClient, condition: Callable[[Any], bool]) -> Any:
    """Ask for predictions until one is answered as it should; journals look for space once a second."""
    for _ in range(500):
        response = client.post("/predict", json=HOUSE)
        if condition(response):
            return response
        time.sleep(0.02)
    raise AssertionError("it was never answered so")


def test_on_a_full_disk_nothing_is_answered_without_a_record(
    trained_project: Path, small_disk: Path, read: Any
) -> None:
    service = Recording(trained_project, small_disk, sync_milliseconds="10")
    with service.client as client:
        ballast = fill(small_disk)
        refused = ask_until(client, lambda response: response.status_code == 503)
        answered = len(read(small_disk))
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["type"] == "urn:problem-type:record-not-stored"
        assert "disk for records is full" in refused.json()["detail"]
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:problem-type:record-not-stored")
        assert client.get("/v2/health/ready").status_code == client.get("/v2/models/houses/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        until(lambda: "service_workers_ready 0.0" in client.get("/metrics").text, 10)
        assert client.post("/predict/batch", json=[HOUSE]).status_code == 503
        for count in (1, 2):
            assert client.post(INFER, json=tensors(*[BARE] * count)).status_code == 503
        assert len(read(small_disk)) == answered
        ballast.unlink()
        ask_until(client, lambda response: response.status_code == 200)
        assert client.get("/health/ready").status_code == client.get("/v2/health/ready").status_code == 200
        until(lambda: "service_workers_ready 1.0" in client.get("/metrics").text, 10)
        assert len(read(small_disk)) == answered + 1


@pytest.mark.parametrize("media_type", ["application/json", NDJSON, *TABLES])
def test_a_piece_of_a_long_answer_that_cannot_be_recorded_is_refused_row_by_row(
    trained_project: Path, small_disk: Path, read: Any, monkeypatch: pytest.MonkeyPatch, media_type: str
) -> None:
    monkeypatch.setattr(bulk_response, "SLICE_ROWS", 20)
    service = Recording(trained_project, small_disk)
    with service.client as client:
        (small_disk / "ballast").write_bytes(b"x" * (2**21 - 40 * 4096))
        headers = {"accept": media_type}
        rows = [{**HOUSE, "house id": "h" * 250} for _ in range(1000)]
        response = client.post("/predict/batch", json=rows, headers=headers)
        assert response.status_code == 200
        recorded = {record.prediction_id for record in read(small_disk)}
    if media_type in TABLES:
        answers = table_in(response.content, media_type)
        given = {row["prediction_id"] for row in answers if row["prediction_id"]}
        errors = [row["error"] for row in answers if row["error"]]
        assert all("without a record" in error for error in errors)
    else:
        answers = (
            response.json()["predictions"]
            if media_type == "application/json"
            else [json.loads(line) for line in response.content.splitlines()]
        )
        given = {row["prediction_id"] for row in answers if "prediction_id" in row}
        errors = [row for row in answers if "error" in row]
        assert {row["error"]["type"] for row in errors} == {"urn:problem-type:record-not-stored"}
    assert given == recorded
    assert 0 < len(given) < 1000
    assert len(given) + len(errors) == 1000


def test_what_may_be_served_unlogged_says_so(trained_project: Path, small_disk: Path, read: Any) -> None:
    service = Recording(trained_project, small_disk, when_full="serve_unlogged", sync_milliseconds="10")
    with service.client as client:
        assert "logged" not in client.post("/predict", json=HOUSE).json()
        ballast = fill(small_disk)
        answer = ask_until(client, lambda response: "logged" in response.json()).json()
        recorded = read(small_disk)
        assert answer["logged"] is False
        assert answer["prediction_id"] not in {record.prediction_id for record in recorded}
        assert client.get("/health/ready").status_code == 200
        rows = [HOUSE, WRONG]
        many = client.post("/predict/batch", json=rows).json()
        assert [row.get("logged") for row in many["predictions"]] == [False, None]
        for media_type in TABLES:
            body = client.post("/predict/batch", json=rows, headers={"accept": media_type}).content
            assert [row["logged"] for row in table_in(body, media_type)] in ([False, None], ["False", ""])
        for count in (1, 2):
            answer = client.post(INFER, json=tensors(*[BARE] * count)).json()
            assert answer["parameters"]["logged"] is False
        text = client.get("/metrics").text
        assert "records_full 1.0" in text
        unlogged = float(next(x.split()[1] for x in text.splitlines() if x.startswith("predictions_unlogged_total ")))
        assert unlogged >= 1 + 1 + 4 + 3
        assert read(small_disk) == recorded
        ballast.unlink()
        ask_until(client, lambda response: "logged" not in response.json())
        body = client.post("/predict/batch", json=rows, headers={"accept": CSV}).content
        assert [row["logged"] for row in table_in(body, CSV)] == ["True", ""]
