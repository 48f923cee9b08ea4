"""Bulk requests over HTTP: every format in and out, headers, limits, streams."""

import io
import json
import threading
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api import negotiation
from ml_microservice.api.app import create_app
from ml_microservice.inference import bulk_formats, bulk_response
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import Settings, load_settings
from tests.bodies import CSV, FILE, JSON, NDJSON, PARQUET, STREAM, TABLES, decode, encode

ALL = [JSON, NDJSON, *TABLES]

ROWS: list[dict[str, Any]] = [
    {"house id": "h1", "floor area": 300.0, "lift": True, "class": 4, "colour": "red"},
    {"house id": "h2", "floor area": 50.0, "lift": False, "class": 1},
    {"house id": "h3", "floor area": 5000.0, "lift": False, "class": 2, "colour": "pink"},
    {"house id": "h4", "floor area": 310.5, "lift": True, "class": 0, "view": [0.5, 1.0], "built": "1950-02-03T00:00"},
]


def post(client: TestClient, rows: list[dict[str, Any]] | bytes, media_type: str, accept: str | None = None) -> Any:
    """The response to a bulk request."""
    body = rows if isinstance(rows, bytes) else encode(rows, media_type)
    headers = {"content-type": media_type, **({"accept": accept} if accept else {})}
    return client.post("/predict/batch", content=body, headers=headers)


@pytest.mark.parametrize("wanted", ALL)
@pytest.mark.parametrize("sent", ALL)
def test_every_format_gets_the_same_answers_in_every_format(
    client: TestClient, served: ServedModel, sent: str, wanted: str
) -> None:
    response = post(client, ROWS, sent, wanted)
    assert (response.status_code, response.headers["content-type"]) == (200, wanted), response.text
    answers = decode(response.content, wanted)
    assert [row.get("prediction") for row in answers] == ["yes", "no", None, "yes"]
    assert [row.get("house id") for row in answers if "error" not in row] == ["h1", "h2", "h4"]
    assert "floor area must be at most 900 m2" in answers[2]["error"]
    assert "colour must be one of" in answers[2]["error"]
    assert len({row["prediction_id"] for row in answers if "error" not in row}) == 3
    alone = client.post("/predict", json=ROWS[3]).json()["probabilities"]
    assert float(answers[3]["probability_yes"]) == pytest.approx(alone["yes"], abs=1e-12)
    assert response.headers["x-model-version"] == served.manifest.version
    assert response.headers["x-model-id"] == served.manifest.id


@pytest.mark.parametrize("sent", [CSV, PARQUET, STREAM])
def test_in_tables_the_entity_id_is_there_for_rows_with_an_error_too(client: TestClient, sent: str) -> None:
    assert [row["house id"] for row in decode(post(client, ROWS, sent).content, sent)] == ["h1", "h2", "h3", "h4"]
    numbered = [{**row, "house id": index} for index, row in enumerate(ROWS)]
    ids = [row["house id"] for row in decode(post(client, numbered, sent).content, sent)]
    assert ids == (["0", "1", "2", "3"] if sent == CSV else [0, 1, 2, 3])


def test_arrow_answers_carry_the_provenance_as_metadata(client: TestClient, served: ServedModel) -> None:
    schema = pa.ipc.open_stream(post(client, ROWS, STREAM).content).schema
    assert schema.metadata[b"model_version"].decode() == served.manifest.version
    assert {b"model_id", b"model_created_at", b"timestamp"} <= schema.metadata.keys()


@pytest.mark.parametrize("wanted", ALL)
def test_a_long_answer_is_streamed_and_the_same(
    client: TestClient, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [dict(ROWS[index % 4], **{"house id": f"h{index}"}) for index in range(50)]
    whole = decode(post(client, rows, STREAM, wanted).content, wanted)
    monkeypatch.setattr(bulk_response, "SLICE_ROWS", 7)
    response = post(client, rows, STREAM, wanted)
    assert "content-length" not in response.headers
    streamed = decode(response.content, wanted)
    for row in (*whole, *streamed):
        row.pop("prediction_id", None)
        for name in ("probability_yes", "probability_no"):
            row |= {name: round(float(row[name]), 9)} if name in row else {}
    assert streamed == whole
    if wanted == JSON:
        assert response.json()["failed"] == 12


@pytest.mark.parametrize("media_type", ALL)
def test_no_rows_are_no_answers(client: TestClient, media_type: str) -> None:
    empty = encode([], media_type)
    if media_type in (PARQUET, STREAM, FILE):
        empty = encode(ROWS, media_type)
        schema = pa.schema([("lift", pa.bool_())])
        sink = io.BytesIO()
        if media_type == PARQUET:
            pq.write_table(schema.empty_table(), sink)
        else:
            (pa.ipc.new_stream if media_type == STREAM else pa.ipc.new_file)(sink, schema).close()
        empty = sink.getvalue()
    response = post(client, empty, media_type)
    assert response.status_code == 200
    assert decode(response.content, media_type) == []


def test_what_pandas_writes_is_read(client: TestClient) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "floor area": [300.0, 50.0],
            "lift": [True, False],
            "class": [4.0, None],
            "colour": pd.Categorical(["red", None]),
            "built": pd.to_datetime(pd.Series(["1950-02-03", None])),
        },
        index=[7, 9],
    )
    for body in (frame.to_parquet(), frame.reset_index(drop=True).to_parquet()):
        answers = decode(post(client, body, PARQUET).content, PARQUET)
        assert [row.get("prediction") for row in answers] == ["yes", "no"], answers
    answers = decode(post(client, frame.to_csv(index=False).encode(), CSV).content, CSV)
    assert [row.get("prediction") for row in answers] == ["yes", "no"]


@pytest.mark.parametrize(
    ("media_type", "body", "words"),
    [
        (CSV, b"\xff", "cannot be read as CSV"),
        (CSV, b"lift,lift\n1,1\n", "'lift' is there twice"),
        (CSV, b"floor area,lift\n1,true,3\n", "row 1 has another number of fields"),
        (PARQUET, b"PAR1", "cannot be read as Parquet"),
        (STREAM, b"junk", "cannot be read as an Arrow stream"),
        (STREAM, b"", "cannot be read as an Arrow stream"),
        (FILE, b"ARROW1junk", "cannot be read as an Arrow file"),
        (STREAM, encode(ROWS, STREAM)[:-200], "cannot be read as an Arrow stream"),
    ],
)
def test_a_body_that_is_not_of_its_format_is_refused(
    client: TestClient, media_type: str, body: bytes, words: str
) -> None:
    response = post(client, body, media_type)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    assert words in response.json()["detail"]


def test_text_with_damaged_bytes_is_refused_before_it_is_read(client: TestClient) -> None:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pa.py_buffer(b"\xff\xfe")]
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("owner", pa.string())])) as writer:
        writer.write_table(pa.table({"owner": text}))
    assert post(client, sink.getvalue(), STREAM).status_code == 422


def test_a_line_that_is_not_json_fails_alone(client: TestClient) -> None:
    body = encode(ROWS[:1], NDJSON) + b'{"lift": \n\n' + encode(ROWS[1:2], NDJSON)
    answers = [json.loads(line) for line in post(client, body, NDJSON).content.splitlines()]
    assert [row.get("prediction") for row in answers] == ["yes", None, "no"]
    assert answers[1]["error"]["type"].endswith("invalid-json")


@pytest.mark.parametrize("media_type", ALL)
def test_more_rows_than_the_limit_are_refused_in_every_format(settings: Settings, media_type: str) -> None:
    limited = load_settings(settings.root, {"SERVICE__API__MAX_BATCH_ROWS": "3"})
    response = post(TestClient(create_app(limited)), ROWS, media_type)
    assert (response.status_code, response.json()["type"]) == (413, "urn:problem-type:too-many-rows")


def test_a_small_file_that_would_fill_the_memory_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_formats, "MAX_TEXT_BYTES", 1_000_000)
    sink = io.BytesIO()
    pq.write_table(pa.table({"owner": ["x" * 10_000] * 500}), sink)
    assert len(sink.getvalue()) < 20_000
    assert post(client, sink.getvalue(), PARQUET).status_code == 413


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        (f"{JSON}, {STREAM};q=0.9", JSON),
        (f"{JSON};q=0.5, {STREAM}", STREAM),
        (f"{CSV};q=0, */*", JSON),
        (f"text/html, {NDJSON};q=0.1", NDJSON),
    ],
)
def test_the_answer_has_the_format_that_is_accepted_most(client: TestClient, accept: str, answered: str) -> None:
    assert post(client, ROWS, CSV, accept).headers["content-type"] == answered


def test_formats_that_are_not_known_or_not_accepted_are_refused_naming_those_that_are(client: TestClient) -> None:
    unknown = post(client, b"", "application/xml")
    assert unknown.status_code == 415
    assert all(name in unknown.json()["detail"] for name in ALL)
    refused = post(client, ROWS, JSON, "text/html, image/png;q=junk")
    assert refused.status_code == 406
    assert all(name in refused.json()["detail"] for name in ALL)


def test_without_pyarrow_its_formats_are_refused_with_advice_and_the_others_work(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = encode(ROWS, STREAM)
    monkeypatch.setattr(bulk_formats, "has_arrow", lambda: False)
    refused = post(client, body, STREAM)
    assert refused.status_code == 415
    assert "extra 'arrow'" in refused.json()["detail"]
    assert post(client, ROWS, CSV, PARQUET).status_code == 406
    assert post(client, ROWS, CSV).status_code == 200
    assert negotiation.wanted_format(None, bulk_formats.JSON) is bulk_formats.JSON


def test_the_document_names_all_formats(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/predict/batch"]["post"]
    assert list(operation["requestBody"]["content"]) == ALL
    assert list(operation["responses"]["200"]["content"]) == ALL
    assert {"200", "401", "406", "413", "415", "422", "429", "500", "503"} == set(operation["responses"])


def test_single_rows_are_answered_while_a_long_answer_is_made(
    client: TestClient, house: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_response, "SLICE_ROWS", 5)
    rows = encode([ROWS[0]] * 400, STREAM)
    finished: list[float] = []

    def send() -> None:
        post(client, rows, STREAM)
        finished.append(time.monotonic())

    thread = threading.Thread(target=send)
    thread.start()
    answered = []
    while thread.is_alive():
        assert client.post("/predict", json=house).status_code == 200
        answered.append(time.monotonic())
    assert sum(moment < finished[0] for moment in answered) >= 3
