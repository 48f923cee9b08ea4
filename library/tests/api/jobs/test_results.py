"""The results of jobs over HTTP: the same answers as `/predict/batch` gives, in every format, whole and in parts."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_microservice.inference import bulk_formats
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.jobs.submission import chunks
from tests.api.jobs.jobs_client import JobsClient, jobs_client
from tests.bodies import CSV, FILE, JSON, NDJSON, PARQUET, STREAM, TABLES, decode, encode

ALL = [JSON, NDJSON, *TABLES]
ROWS: list[dict[str, Any]] = [
    {"house id": "h1", "floor area": 300.0, "lift": True, "class": 4, "colour": "red", "owner": 'A\n"B", C'},
    {"house id": "h2", "floor area": 50.0, "lift": False, "class": 1},
    {"house id": "h3", "floor area": 5000.0, "lift": False, "class": 2, "colour": "pink"},
    {"house id": "h4", "floor area": 310.5, "lift": True, "class": 0, "view": [0.5, 1.0], "built": "1950-02-03T00:00"},
    {"house id": "h5", "floor area": 199.0, "lift": True, "class": 9, "owner": "line\r\nline\n"},
    {"floor area": 201.0, "lift": False, "garden[ha]": 0.5},
    {"house id": "h7", "lift": False, "class": 2},
]


@pytest.fixture(scope="module")
def jobs(trained_project: Path, served: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsClient]:
    """A service whose jobs are cut after two rows, and whose larger results are in the storage."""
    var = tmp_path_factory.mktemp("jobs")
    places = {
        "DATABASE__URL": f"sqlite:///{var}/records.db",
        "JOBS__BROKER": f"filesystem://{var}/messages",
        "JOBS__STORAGE": f"{var}/files",
    }
    with jobs_client(trained_project, served, JOBS__CHUNK_ROWS="2", JOBS__INLINE_BYTES="400", **places) as client:
        yield client


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flat answers without what differs each time, with numbers to as many digits as any two calls agree in."""
    return [
        {
            name: round(float(value), 9) if name.startswith("probability") else value
            for name, value in row.items()
            if name != "prediction_id"
        }
        for row in rows
    ]


@pytest.mark.parametrize("sent", ALL)
def test_every_format_is_answered_in_every_format_as_the_batch_is(jobs: JobsClient, sent: str) -> None:
    path = jobs.done(ROWS, sent)
    for wanted in ALL:
        result = jobs.http.get(f"{path}/result", headers={"accept": wanted})
        assert (result.status_code, result.headers["content-type"]) == (200, wanted), result.text
        batch = jobs.http.post(
            "/predict/batch", content=encode(ROWS, sent), headers={"content-type": sent, "accept": wanted}
        )
        answers = decode(result.content, wanted)
        assert comparable(answers) == comparable(decode(batch.content, wanted)), wanted
        assert len({row["prediction_id"] for row in answers if "error" not in row}) == 5
        assert result.headers["x-model-version"] == batch.headers["x-model-version"]
        if wanted == JSON:
            assert result.json()["failed"] == batch.json()["failed"] == 2
    assert jobs.http.get(f"{path}/result").headers["content-type"] == sent
    assert jobs.http.get(path).json()["rows_failed"] == 2


def test_a_single_object_is_also_a_table_of_one_row(jobs: JobsClient) -> None:
    path = jobs.done(json.dumps(ROWS[0]).encode())
    whole = jobs.http.get(f"{path}/result").json()
    for wanted in ALL[1:]:
        (row,) = decode(jobs.http.get(f"{path}/result", headers={"accept": wanted}).content, wanted)
        assert (row["prediction"], row["house id"]) == (whole["prediction"], "h1")
        assert row["prediction_id"] == whole["prediction_id"]


@pytest.mark.parametrize("wanted", ALL)
def test_pages_and_ranges_together_are_the_whole(jobs: JobsClient, wanted: str) -> None:
    path, accept = jobs.done(ROWS, NDJSON), {"accept": wanted}
    whole = decode(jobs.http.get(f"{path}/result", headers=accept).content, wanted)
    paged: list[dict[str, Any]] = []
    page = jobs.http.get(f"{path}/result?limit=3", headers=accept)
    while True:
        paged += decode(page.content, wanted)
        if "link" not in page.headers:
            break
        page = jobs.http.get(page.headers["link"].split(">")[0][1:], headers=accept)
    assert paged == whole
    assert decode(jobs.http.get(f"{path}/result?offset=5", headers=accept).content, wanted) == whole[5:]
    assert decode(jobs.http.get(f"{path}/result?offset=99", headers=accept).content, wanted) == []
    for range, rows, told in (
        ("rows=0-2", whole[0:3], "rows 0-2/7"),
        ("rows=3-3", whole[3:4], "rows 3-3/7"),
        ("rows=5-", whole[5:], "rows 5-6/7"),
        ("rows=-4", whole[3:], "rows 3-6/7"),
        ("rows=-99", whole, "rows 0-6/7"),
        ("rows=6-1000", whole[6:], "rows 6-6/7"),
    ):
        part = jobs.http.get(f"{path}/result", headers={**accept, "range": range})
        assert (part.status_code, part.headers["content-range"]) == (206, told)
        assert decode(part.content, wanted) == rows


def test_ranges_that_are_not_there_are_said_and_other_units_do_not_count(jobs: JobsClient) -> None:
    path = jobs.done(ROWS)
    for range in ("rows=7-", "rows=9-12", "rows=3-2", "rows=-0"):
        refused = jobs.http.get(f"{path}/result", headers={"range": range})
        assert (refused.status_code, refused.headers["content-range"]) == (416, "rows */7"), range
    for range in ("bytes=0-10", "rows=0-1,3-4", "rows=-", "junk"):
        whole = jobs.http.get(f"{path}/result", headers={"range": range})
        assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "rows")
        assert len(whole.json()["predictions"]) == 7
    for query in ("offset=-1", "limit=0", "limit=many"):
        assert jobs.http.get(f"{path}/result?{query}").status_code == 422


@pytest.mark.parametrize("wanted", [CSV, PARQUET, STREAM, FILE])
def test_ids_of_later_chunks_count_for_the_columns_of_a_table(jobs: JobsClient, wanted: str) -> None:
    def ids(rows: list[dict[str, Any]]) -> list[Any]:
        result = jobs.http.get(f"{jobs.done(rows)}/result", headers={"accept": wanted})
        return [row.get("house id") for row in decode(result.content, wanted)]

    house = {"floor area": 300.0, "lift": True}
    numbers = [house, house, {**house, "house id": 17}, house]
    assert ids(numbers) == [None, None, "17" if wanted == CSV else 17, None]
    assert ids([{**house, "house id": 1}, house, {**house, "house id": "b"}]) == ["1", None, "b"]
    without = jobs.http.get(f"{jobs.done([house] * 3)}/result", headers={"accept": CSV})
    assert "house id" not in without.text


def test_arrow_files_of_many_batches_and_dictionaries_are_read(jobs: JobsClient) -> None:
    table = pa.table(
        {
            "floor area": pa.array([300.0, 50.0, 300.0, None, 250.0]),
            "lift": [True, False, True, False, True],
            "colour": pa.array(["red", "blue", "red", None, "pink"]).dictionary_encode(),
            "__index_level_0__": [9, 8, 7, 6, 5],
        }
    )
    for media_type, opened in ((STREAM, pa.ipc.new_stream), (FILE, pa.ipc.new_file)):
        sink = pa.BufferOutputStream()
        with opened(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
        path = jobs.done(sink.getvalue().to_pybytes(), media_type)
        answers = decode(jobs.http.get(f"{path}/result").content, media_type)
        assert [row.get("prediction") for row in answers] == ["yes", "no", "yes", None, None]
        assert "colour must be one of" in answers[4]["error"]


def test_a_result_whose_files_are_gone_is_not_there(jobs: JobsClient) -> None:
    path = jobs.done(ROWS * 2)
    jobs.worker.storage.remove(path.rpartition("/")[2])
    assert jobs.http.get(f"{path}/result").status_code == 404


def test_a_small_file_that_would_fill_the_memory_is_refused_and_one_of_many_texts_is_not(
    jobs: JobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parquet(owners: pa.Array) -> bytes:
        sink = io.BytesIO()
        pq.write_table(
            pa.table({"floor area": [300.0] * len(owners), "lift": [True] * len(owners), "owner": owners}), sink
        )
        return sink.getvalue()

    for module in (bulk_formats, chunks):
        monkeypatch.setattr(module, "MAX_TEXT_BYTES", 1_000_000)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(["x" * 600_000]))
    bomb = parquet(long)
    assert len(bomb) < 100_000
    refused = jobs.submit(bomb, PARQUET)
    assert (refused.status_code, refused.json()["type"]) == (413, "urn:problem-type:body-too-large")
    path = jobs.done(parquet(pa.array([f"Owner {number}" for number in range(100)])), PARQUET)
    answers = decode(jobs.http.get(f"{path}/result").content, PARQUET)
    assert {row["prediction"] for row in answers} == {"yes"}
