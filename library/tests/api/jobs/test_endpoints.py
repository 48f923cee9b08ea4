"""Jobs over HTTP: submitting, looking, waiting, following, cancelling, listing."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.jobs import progress
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.storage import JobStorage
from ml_microservice.settings import load_settings
from tests.api.jobs.jobs_client import JobsClient, jobs_client, meanwhile
from tests.bodies import CSV, JSON, NDJSON, STREAM, encode
from tests.waiting import until

HOUSE = {"floor area": 300.0, "lift": True}


@pytest.fixture
def jobs(project: Path, served: ServedModel) -> Iterator[JobsClient]:
    """A service whose jobs are cut after two rows."""
    with jobs_client(project, served, JOBS__CHUNK_ROWS="2", JOBS__INLINE_BYTES="50") as client:
        yield client


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and documents of a stream of events."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_job_is_taken_done_and_answered_as_predict_does(jobs: JobsClient) -> None:
    response = jobs.submit(json.dumps({**HOUSE, "house id": "h1"}).encode())
    document = response.json()
    assert (response.status_code, document["state"], document["rows"]) == (202, "queued", 1)
    path = response.headers["location"]
    assert path == document["links"]["self"] == f"/jobs/{document['job_id']}"
    assert jobs.http.get(path).json() == document
    early = jobs.http.get(f"{path}/result")
    assert (early.status_code, early.json()["type"]) == (409, "urn:problem-type:job-not-finished")
    assert early.headers["retry-after"] == "1"
    jobs.worker.work()
    done = jobs.http.get(path).json()
    assert (done["state"], done["rows_done"], done["attempts"]) == ("succeeded", 1, 1)
    assert {"started_at", "finished_at", "expires_at"} <= done.keys()
    answer, predicted = jobs.http.get(f"{path}/result").json(), jobs.http.post("/predict", json=HOUSE).json()
    assert answer["prediction"] == predicted["prediction"]
    assert answer["house id"] == "h1"
    assert answer.keys() == {*predicted, "house id"}
    assert done["model"] == {name: answer[name] for name in ("model_version", "model_id", "model_created_at")}


@pytest.mark.parametrize(
    ("media_type", "body", "status", "kind"),
    [
        (JSON, b'{"floor area": 5}', 422, "invalid-features"),
        (JSON, b'{"floor', 422, "invalid-json"),
        (JSON, b"[1, 2", 422, "invalid-json"),
        (JSON, b"17", 422, "invalid-features"),
        (JSON, b"", 422, "invalid-json"),
        (JSON, b"[]", 422, "invalid-batch"),
        (NDJSON, b"\n \n", 422, "invalid-batch"),
        (CSV, b"lift\n", 422, "invalid-batch"),
        (CSV, b"lift\ntrue\ntrue\ntrue,1\n", 422, "invalid-batch"),
        (CSV, b"lift,lift\n1,1\n", 422, "invalid-batch"),
        (STREAM, b"junk", 422, "invalid-batch"),
        (STREAM, encode([HOUSE], STREAM)[:-100], 422, "invalid-batch"),
        ("application/xml", b"<house/>", 415, "unsupported-media-type"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_at_once_and_leaves_nothing(
    jobs: JobsClient, media_type: str, body: bytes, status: int, kind: str
) -> None:
    response = jobs.submit(body, media_type)
    assert (response.status_code, response.json()["type"]) == (status, f"urn:problem-type:{kind}")
    assert jobs.worker.counts() == (0, 0)
    assert jobs.worker.storage.ids() == []


def test_a_row_of_many_that_breaks_a_rule_fails_alone(jobs: JobsClient) -> None:
    path = jobs.done([HOUSE, {}, HOUSE])
    document, answer = jobs.http.get(path).json(), jobs.http.get(f"{path}/result").json()
    assert (document["state"], document["rows_failed"], answer["failed"]) == ("succeeded", 1, 1)
    assert [next(iter(row)) for row in answer["predictions"]] == ["prediction", "error", "prediction"]


def test_what_no_job_has_as_an_id_is_not_found(jobs: JobsClient) -> None:
    for job_id in (uuid4(), "nonsense", "{" + str(uuid4()) + "}", "%00", str(uuid4()).replace("-", "")):
        for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/result"), ("GET", "/events")):
            response = jobs.http.request(method, f"/jobs/{job_id}{rest}")
            assert (response.status_code, response.json()["type"]) == (404, "urn:problem-type:no-such-job"), job_id
    known = jobs.submit([HOUSE]).json()["job_id"]
    assert jobs.http.get(f"/jobs/{known.upper()}").status_code == 200


def test_a_repeated_key_is_one_job_and_with_another_body_is_refused(jobs: JobsClient) -> None:
    first = jobs.submit([HOUSE] * 5, NDJSON, idempotency_key="order-17")
    again = jobs.submit([HOUSE] * 5, NDJSON, idempotency_key="order-17")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers.get("idempotency-replayed") is None
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert jobs.worker.storage.ids() == [first.json()["job_id"]]
    for rows, media_type in (([HOUSE] * 4, NDJSON), ([HOUSE] * 5, CSV)):
        refused = jobs.submit(rows, media_type, idempotency_key="order-17")
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:problem-type:idempotency-key-reused")
    assert jobs.worker.counts() == (1, 3)
    assert jobs.worker.storage.ids() == [first.json()["job_id"]]
    jobs.worker.work()
    finished = jobs.submit([HOUSE] * 5, NDJSON, query="?wait=5", idempotency_key="order-17")
    assert (finished.status_code, finished.headers["idempotency-replayed"]) == (200, "true")


@pytest.mark.parametrize("key", ["", "two words", "ä", "x" * 256])
def test_a_key_is_1_to_255_visible_characters(jobs: JobsClient, key: str) -> None:
    response = jobs.http.post("/jobs", json=HOUSE, headers={b"idempotency-key": key.encode()})
    assert response.status_code == 422
    assert jobs.submit([HOUSE], idempotency_key="x" * 255).status_code == 202


def test_the_same_key_at_the_same_time_is_one_job(jobs: JobsClient) -> None:
    with ThreadPoolExecutor(16) as callers:
        sent = [callers.submit(jobs.submit, [HOUSE] * 3, idempotency_key=f"k{index % 4}") for index in range(64)]
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 4
    assert jobs.worker.counts() == (4, 8)
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 4


def test_submissions_at_the_same_time_share_transactions(jobs: JobsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_microservice.jobs.store.job_store import JobStore

    sizes: list[int] = []
    insert = JobStore.insert

    def slow_insert(store: JobStore, new: Any) -> Any:
        sizes.append(len(new))
        time.sleep(0.1)  # as a busy disk
        return insert(store, new)

    monkeypatch.setattr(JobStore, "insert", slow_insert)
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: jobs.submit([HOUSE]), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(sizes) == 20
    assert len(sizes) <= 10


def test_waiting_answers_as_soon_as_the_job_is_done(jobs: JobsClient) -> None:
    def later() -> None:
        time.sleep(0.3)
        jobs.worker.work()

    started = time.monotonic()
    with meanwhile(later):
        one = jobs.submit(json.dumps(HOUSE).encode(), query="?wait=60")
    assert (one.status_code, one.json()["prediction"]) == (200, "yes")
    assert one.headers["location"].startswith("/jobs/")
    with meanwhile(later):
        many = jobs.submit([HOUSE, {}], CSV, query="?wait=60", accept=NDJSON)
    assert time.monotonic() - started < 30
    assert (many.status_code, many.headers["content-type"]) == (200, NDJSON)
    assert len(many.content.splitlines()) == 2
    late = jobs.submit([HOUSE], query="?wait=1")
    assert (late.status_code, late.json()["state"]) == (202, "queued")


def test_waiting_for_a_job_that_fails_answers_its_problem(jobs: JobsClient) -> None:
    problem = {"type": "urn:problem-type:job-gave-up", "title": "Given up", "status": 500, "detail": "No."}

    def fail() -> None:
        time.sleep(0.3)
        jobs.worker.fail_all(problem)

    with meanwhile(fail):
        response = jobs.submit([HOUSE] * 3, query="?wait=60")
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert response.json() == problem
    path = response.headers["location"]
    assert jobs.http.get(path).json()["problem"] == problem
    assert jobs.http.get(f"{path}/result").json() == problem


def test_an_answer_in_no_format_that_is_accepted_is_refused_before_the_job_is_taken(jobs: JobsClient) -> None:
    assert jobs.submit([HOUSE], query="?wait=5", accept="image/png").status_code == 406
    assert jobs.worker.counts() == (0, 0)


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "1e400"])
def test_a_wait_that_is_none_is_refused(jobs: JobsClient, wait: str) -> None:
    assert jobs.submit([HOUSE], query=f"?wait={wait}").status_code == 422


def test_those_who_wait_and_follow_keep_nobody_from_having_work_done(project: Path, served: ServedModel) -> None:
    with jobs_client(project, served, API__MAX_CONCURRENCY="2") as jobs, ThreadPoolExecutor(6) as callers:
        path = jobs.submit([HOUSE]).headers["location"]

        def has_jobs(count: int) -> bool:
            return jobs.worker.counts()[0] == count

        waiting = []
        for count in range(2, 5):
            waiting.append(callers.submit(jobs.submit, [HOUSE], query="?wait=60"))
            until(partial(has_jobs, count), 30)
        for _ in range(3):
            waiting.append(callers.submit(jobs.http.get, f"{path}/events"))
            time.sleep(0.1)
        for _ in range(10):
            assert jobs.http.post("/predict", json=HOUSE).status_code == 200
        jobs.worker.work()
        assert {one.result().status_code for one in waiting} == {200}


def test_events_tell_the_progress_and_end_with_the_job(jobs: JobsClient) -> None:
    path = jobs.submit([HOUSE] * 5).headers["location"]

    def work() -> None:
        for _ in range(3):
            time.sleep(0.2)
            jobs.worker.work(1)

    with meanwhile(work):
        response = jobs.http.get(f"{path}/events")
    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    told = events_of(response.text)
    done = [document["rows_done"] for _, document in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 5)
    assert [name for name, _ in told] == ["progress"] * (len(told) - 1) + ["finished"]
    assert told[-1][1]["state"] == "succeeded"
    assert [name for name, _ in events_of(jobs.http.get(f"{path}/events").text)] == ["finished"]


def test_of_too_many_followers_the_next_are_told_to_come_back(
    jobs: JobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MAX_SUBSCRIPTIONS", 0)
    path = jobs.submit([HOUSE]).headers["location"]
    refused = jobs.http.get(f"{path}/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert jobs.submit([HOUSE], query="?wait=60").status_code == 202


def test_a_cancelled_job_has_no_result_and_a_finished_one_is_not_cancelled(jobs: JobsClient) -> None:
    path = jobs.submit([HOUSE] * 5).headers["location"]
    jobs.worker.work(1)
    for _ in range(2):
        cancelled = jobs.http.delete(path)
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert jobs.worker.work() == 0
    assert jobs.http.get(f"{path}/result").status_code == 410
    assert events_of(jobs.http.get(f"{path}/events").text)[-1][1]["state"] == "cancelled"
    finished = jobs.done([HOUSE])
    refused = jobs.http.delete(finished)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:problem-type:job-finished")


def test_jobs_are_listed_by_pages_newest_first(jobs: JobsClient) -> None:
    ids = [jobs.submit([HOUSE]).json()["job_id"] for _ in range(5)]
    jobs.worker.work(2)
    seen: list[str] = []
    page = jobs.http.get("/jobs?limit=2")
    while True:
        seen += [job["job_id"] for job in page.json()["jobs"]]
        if "next" not in page.json():
            break
        assert page.headers["link"] == f'<{page.json()["next"]}>; rel="next"'
        page = jobs.http.get(page.json()["next"])
    assert seen == ids[::-1]
    queued = jobs.http.get("/jobs?state=queued&limit=3")
    assert [job["job_id"] for job in queued.json()["jobs"]] == ids[:1:-1]
    assert jobs.http.get(queued.json()["next"]).json() == {"jobs": []}
    for query in ("state=lost", "limit=0", "limit=1001", "before=now", "before=2026-01-01~x", f"before=~{uuid4()}"):
        assert jobs.http.get(f"/jobs?{query}").status_code == 422, query


def test_keys_open_jobs_and_admin_keys_the_list_of_all(project: Path, served: ServedModel) -> None:
    with jobs_client(project, served, API__KEYS="caller", API__ADMIN_KEYS="boss") as jobs:
        for method, path in (("POST", "/jobs"), ("GET", "/jobs"), ("GET", f"/jobs/{uuid4()}/events")):
            assert jobs.http.request(method, path).status_code == 401
        path = jobs.submit([HOUSE], x_api_key="caller").headers["location"]
        for key in ("caller", "boss"):
            assert jobs.http.get(path, headers={"x-api-key": key}).status_code == 200
            assert jobs.http.post("/predict", json=HOUSE, headers={"x-api-key": key}).status_code == 200
            assert jobs.http.get("/model", headers={"x-api-key": key}).status_code == 200
        refused = jobs.http.get("/jobs", headers={"x-api-key": "caller"})
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:problem-type:no-admin-key")
        assert len(jobs.http.get("/jobs", headers={"x-api-key": "boss"}).json()["jobs"]) == 1


def test_a_body_beyond_the_limit_leaves_nothing_behind(project: Path, served: ServedModel) -> None:
    limits = {"JOBS__MAX_BODY_BYTES": "3000000", "API__MAX_BODY_BYTES": "2000", "JOBS__CHUNK_ROWS": "100"}
    line = json.dumps(HOUSE).encode() + b"\n"

    def lines(count: int) -> Iterator[bytes]:
        for _ in range(count // 1000):
            yield line * 1000

    with jobs_client(project, served, **limits) as jobs:
        for body in (line * 90_000, lines(90_000)):
            refused = jobs.http.post("/jobs", content=body, headers={"content-type": NDJSON})
            assert (refused.status_code, refused.json()["type"]) == (413, "urn:problem-type:body-too-large")
        whole = jobs.submit([HOUSE] * 100)
        assert whole.status_code == 413
        assert "NDJSON" in whole.json()["detail"]
        assert jobs.worker.counts() == (0, 0)
        assert jobs.worker.storage.ids() == []
        taken = jobs.http.post("/jobs", content=lines(50_000), headers={"content-type": NDJSON})
        assert (taken.status_code, taken.json()["rows"]) == (202, 50_000)
        assert jobs.worker.counts() == (1, 500)


def test_a_table_that_breaks_off_near_its_end_leaves_nothing_behind(jobs: JobsClient) -> None:
    broken = b"floor area,lift\n" + b"300,true\n" * 1000 + b"300,true,1\n"
    assert jobs.submit(broken, CSV).status_code == 422
    assert jobs.worker.counts() == (0, 0)
    assert jobs.worker.storage.ids() == []


def test_beyond_what_may_wait_submissions_are_told_to_come_back(project: Path, served: ServedModel) -> None:
    with jobs_client(project, served, JOBS__MAX_QUEUED="3", JOBS__CHUNK_ROWS="2") as jobs:
        assert [jobs.submit([HOUSE]).status_code for _ in range(3)] == [202] * 3
        refused = jobs.submit([HOUSE])
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.json()["type"] == "urn:problem-type:queue-full"
        too_many = jobs.submit([HOUSE] * 7)
        assert too_many.status_code == 429
        jobs.worker.work()
        until(lambda: jobs.submit([HOUSE]).status_code == 202, 30)
        never = jobs.submit([HOUSE] * 7)
        assert (never.status_code, never.json()["type"]) == (413, "urn:problem-type:too-many-rows")
        assert jobs.worker.storage.ids() == []


def test_a_broker_that_is_down_costs_nothing(project: Path, served: ServedModel) -> None:
    with jobs_client(project, served, JOBS__BROKER="amqp://guest@127.0.0.1:9/") as jobs:
        path = jobs.done([HOUSE])
        assert jobs.http.get(f"{path}/result").status_code == 200
        waiting = jobs.submit([HOUSE]).json()["job_id"]
        until(lambda: jobs.worker.store.to_publish(queue_is_empty=False, limit=10) == [((waiting, 0), False)], 30)


def test_messages_reach_the_queue(jobs: JobsClient, project: Path) -> None:
    jobs.submit([HOUSE])
    jobs.submit([HOUSE] * 5)
    queue = JobQueue(load_settings(project, {}))
    until(lambda: queue.depth() == {"small": 1, "bulk": 3, "dead": 0}, 30)
    queue.close()


def test_a_database_that_is_down_is_said_and_nothing_is_promised(project: Path, served: ServedModel) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:9/none"
    settings = load_settings(project, {"SERVICE__DATABASE__URL": url})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        refused = client.post("/jobs", json=[HOUSE])
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["type"] == "urn:problem-type:jobs-unavailable"
        assert client.get(f"/jobs/{uuid4()}").status_code == 503
        assert client.post("/predict", json=HOUSE).status_code == 200


def test_a_service_without_a_broker_has_no_jobs(project: Path, served: ServedModel) -> None:
    with jobs_client(project, served, JOBS__BROKER="") as jobs:
        assert jobs.submit([HOUSE]).status_code == 404
        assert not any(path.startswith("/jobs") for path in jobs.http.get("/openapi.json").json()["paths"])


def test_the_document_shows_jobs_with_the_models_and_examples_of_the_features(jobs: JobsClient) -> None:
    document = jobs.http.get("/openapi.json").json()
    submitted = document["paths"]["/jobs"]["post"]
    examples = submitted["requestBody"]["content"][JSON]["examples"]
    for example in examples.values():
        assert jobs.http.post("/jobs", json=example["value"]).status_code == 202
    assert set(submitted["requestBody"]["content"]) == {
        *document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]
    }
    assert set(submitted["responses"]) == {
        *["200", "202", "401", "406", "410", "413", "415", "422", "429", "500", "503"]
    }
    assert "503" in document["paths"]["/jobs/{job_id}/events"]["get"]["responses"]
    taken = jobs.submit([HOUSE]).json()
    schema = document["components"]["schemas"]["JobDocument"]
    assert taken.keys() <= schema["properties"].keys()
    assert set(schema["required"]) <= taken.keys()


def test_storage_of_another_job_is_left_alone(jobs: JobsClient, project: Path) -> None:
    storage = JobStorage(load_settings(project, {}))
    first = jobs.submit([HOUSE] * 5, NDJSON).json()["job_id"]
    assert jobs.submit(b"junk\n" * 3 + b"\xff", CSV).status_code == 422
    assert storage.ids() == [first]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps(HOUSE).encode(), {}),
        (json.dumps([HOUSE, {}, HOUSE]).encode(), {"content-type": JSON}),
        (b" [" + json.dumps(HOUSE).encode() + b"]", {"content-type": JSON, "accept": "image/png"}),
        (b'{"floor area": 5}', {}),
        (b"[1, 2", {}),
        (b"[]", {}),
        (b"", {}),
        (encode([HOUSE] * 30, JSON) + b" " * 2**16, {"content-type": JSON}),  # too large for it
        (encode([HOUSE] * 3, CSV), {"content-type": CSV}),
        (json.dumps(HOUSE).encode(), {"content-type": "application/json; charset=utf-8"}),
        (json.dumps(HOUSE).encode(), {"content-type": "application/xml"}),
        (json.dumps(HOUSE).encode(), {"origin": "https://app.example.com"}),
        (json.dumps(HOUSE).encode(), {"idempotency-key": "two words"}),
        (json.dumps(HOUSE).encode(), {"webhook-url": "https://example.com"}),
    ],
)
def test_the_route_ahead_of_fastapi_takes_and_refuses_as_the_other_does(
    jobs: JobsClient, body: bytes, headers: dict[str, str]
) -> None:
    def outcome(query: str) -> tuple[int, set[str], Any]:
        response = jobs.http.post(f"/jobs{query}", content=body, headers=headers)
        document = response.json()
        if response.status_code == 202:
            assert response.headers["location"] == document["links"]["self"] == f"/jobs/{document['job_id']}"
            assert jobs.http.get(response.headers["location"]).json() == document
            document = {
                name: value for name, value in document.items() if name not in ("job_id", "created_at", "links")
            }
        return response.status_code, {*response.headers}, document

    assert outcome("") == outcome("?wait=0")
