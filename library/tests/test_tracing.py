"""Traces, as a collector sees them: real services, and a real receiver of OTLP."""

import json
import os
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ml_microservice.errors import ConfigError
from ml_microservice.settings import load_settings
from ml_microservice.tracing.tracer import Tracer
from tests import waiting
from tests.api.jobs.test_jobs_on_a_server import working
from tests.api.test_server import gauge, serving
from tests.collector import Collector, collecting

SOURCE = Path(__file__).resolve().parents[1] / "src"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{PARENT}-{flag}" for flag in ("01", "00"))
SERVER, CONSUMER = 2, 5
HOUSE = json.dumps({"floor area": 312.25, "lift": True, "house id": "h-secret", "owner": "Ada Lovelace"}).encode()
JSON = "application/json"
until = partial(waiting.until, seconds=20)


def traced(collector: Collector, **others: str) -> dict[str, str]:
    """Variables of a service that sends its spans soon."""
    return {"SERVICE__TRACING__ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **others}


def ask(url: str, body: bytes | None = HOUSE, traceparent: str = "", media_type: str = JSON) -> tuple[int, bytes]:
    """Status and body of an answer."""
    headers = {"content-type": media_type} | ({"traceparent": traceparent} if traceparent else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_request_is_a_span_of_its_callers_trace_with_the_models_call_within_and_nothing_of_what_was_sent(
    project: Path,
) -> None:
    with collecting() as collector:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "x-token=secret"}
        with serving(project, **traced(collector, **headers)) as (address, _):
            answer = json.loads(ask(f"{address}/predict", traceparent=SAMPLED)[1])
            ask(f"{address}/predict", traceparent=UNSAMPLED)
            assert ask(f"{address}/predict", b'{"floor area": "Ada Lovelace"}')[0] == 422
            assert ask(f"{address}/predict/batch", b"[" + HOUSE + b"," + HOUSE + b"]")[0] == 200
            assert ask(f"{address}/Ada%20Lovelace", None)[0] == 404
            assert ask(f"{address}/health/live", None)[0] == 200
        # What waited was sent when the service ended.
        names = sorted(span.name for span in collector.spans)
        assert names == ["GET", "POST /predict", "POST /predict", "POST /predict/batch", "model", "model"]
        first, refused = collector.named("POST /predict")
        called, batch_called = collector.named("model")
        (batch,) = collector.named("POST /predict/batch")
        assert (first.trace, first.parent, first.kind) == (TRACE, PARENT, SERVER)
        assert first.attributes["http.route"] == "/predict"
        assert first.attributes["http.response.status_code"] == 200
        assert first.events == {"recorded": {"prediction.id": answer["prediction_id"]}}
        assert (called.trace, called.parent) == (TRACE, first.id)
        assert called.attributes["model.version"] == answer["model_version"]
        assert first.start <= called.start <= called.end <= first.end
        assert (refused.parent, refused.is_error) == ("", False)
        assert refused.attributes["problem.type"] == "invalid-features"
        assert batch.events == {"recorded": {"rows": 2}}
        assert (batch_called.parent, batch_called.attributes["model.rows"]) == (batch.id, 2)
        assert collector.named("GET")[0].attributes["problem.type"] == "not-found"
        assert first.resource["service.name"] == "houses"
        assert {one["x-token"] for one in collector.headers} == {"secret"}
        for sent in (b"Ada", b"Lovelace", b"h-secret", b"312", b'"yes"', b"\x03yes"):
            assert not any(sent in body for body in collector.bodies)


def test_requests_that_share_a_call_each_have_it_in_their_trace_and_two_workers_send_their_own(project: Path) -> None:
    with collecting() as collector:
        with serving(project, "--workers", "2", **traced(collector)) as (address, _), ThreadPoolExecutor(16) as callers:
            waiting.until(lambda: gauge(address, "service_workers_ready") == 2, 60)
            asked = [callers.submit(ask, f"{address}/predict") for _ in range(200)]
            assert {one.result()[0] for one in asked} == {200}
        requests, calls = collector.named("POST /predict"), collector.named("model")
        assert len(requests) == len(calls) == 200
        assert {call.parent for call in calls} == {request.id for request in requests}
        assert len({request.resource["service.instance.id"] for request in requests}) == 2
        by_id = {call.id: call for call in calls}
        for call in calls:
            for other in call.links:
                assert abs(by_id[other].start - call.start) == 0
                assert call.attributes["model.rows"] > 1


def test_hooks_that_seed_pythons_random_numbers_do_not_make_ids_that_repeat() -> None:
    ids = set()
    with collecting() as collector:
        for _ in range(2):
            tracer = Tracer(collector.url, 1.0, 5, {})
            random.seed(42)
            block = tracer.request("GET", {})
            assert block is not None
            with block as span:
                ids.add(span.traceparent)
            tracer.close()
    assert len(ids) == 2


def test_a_share_of_the_traces_that_begin_here_is_sampled(project: Path) -> None:
    with collecting() as collector:
        variables = traced(collector, SERVICE__TRACING__SAMPLE_RATIO="0.3")
        with serving(project, **variables) as (address, _), ThreadPoolExecutor(4) as callers:
            assert {status for status, _ in callers.map(ask, [f"{address}/predict"] * 300)} == {200}
            ask(f"{address}/predict", traceparent=SAMPLED)
        requests = collector.named("POST /predict")
        assert 40 < len(requests) < 150
        assert TRACE in {request.trace for request in requests}
        assert len(collector.named("model")) == len(requests)


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_collector_that_is_away_or_never_answers_harms_nothing_and_is_told_of_once(
    project: Path, is_silent: bool
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if is_silent:
            nobody.listen()
        collector = Collector(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        _answers_all_the_same(project, traced(collector, SERVICE__TRACING__TIMEOUT_SECONDS="0.5"))


def _answers_all_the_same(project: Path, variables: dict[str, str]) -> None:
    with serving(project, **variables) as (address, process):
        for _ in range(2):
            assert {ask(f"{address}/predict")[0] for _ in range(50)} == {200}
        process.terminate()
        _, told = process.communicate(timeout=20)
        assert process.returncode == 0
        assert told.count("traces cannot be sent") == 1
        assert "Traceback" not in told


@pytest.mark.slow  # it starts a worker, too
def test_a_run_of_chunks_is_linked_to_the_submissions(project: Path) -> None:
    with collecting() as collector:
        variables = traced(collector, SERVICE__JOBS__CONCURRENCY="1", SERVICE__JOBS__CHUNK_ROWS="50")
        houses = b"floor area,lift\n" + b"300,true\n" * 100
        with serving(project, **variables) as (address, _), working(project, **variables):
            assert ask(f"{address}/jobs?wait=60", traceparent=SAMPLED)[0] == 200
            job = json.loads(ask(f"{address}/jobs", houses, media_type="text/csv")[1])["job_id"]
            until(lambda: len(collector.named("run job")) == 3)
        single, bulk = collector.named("POST /jobs")
        runs = collector.named("run job")
        assert [run.links for run in runs] == [[single.id], [bulk.id], [bulk.id]]
        assert {run.kind for run in runs} == {CONSUMER}
        assert (single.trace, single.parent) == (TRACE, PARENT)
        assert [run.attributes["job.ids"] for run in runs] == [[single.attributes["job.id"]], [job], [job]]
        assert {run.attributes["job.outcome"] for run in runs} == {"done"}
        calls = collector.named("model")
        assert sorted(call.parent for call in calls) == sorted(run.id for run in runs)
        assert [call.attributes["model.rows"] for call in calls] == [1, 50, 50]


def test_nothing_is_loaded_while_traces_are_off(project: Path) -> None:
    code = (
        "import sys, ml_microservice.jobs.worker.child_process, ml_microservice.jobs.worker.main_process; "
        "from ml_microservice.api.app import create_app; "
        "print(type(create_app()).__name__, *(name for name in sys.modules if name.startswith(tuple(sys.argv[1:]))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    # FastAPI itself imports the API of OpenTelemetry, which does nothing by itself.
    forbidden = ["opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "requests"]
    command = [sys.executable, "-c", code, *forbidden]
    done = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["HotRoute"]


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_endpoint_without_the_library_is_told_before_anything_starts(project: Path, command: str) -> None:
    code = f"import sys; sys.modules['opentelemetry.exporter'] = None; sys.argv = ['service', '{command}']; " + (
        "from ml_microservice.cli import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "SERVICE__TRACING__ENDPOINT": "http://127.0.0.1:4318"}
    command_line = [sys.executable, "-c", code]
    done = subprocess.run(command_line, env=environment, cwd=project, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "tracing.endpoint is set, but OpenTelemetry is not installed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["collector:4318", "http://user:secret@collector:4318", "grpc://collector:4317"])
def test_an_endpoint_is_a_url_without_a_password(project: Path, url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(project, {"SERVICE__TRACING__ENDPOINT": url})
    assert "tracing.endpoint" in str(raised.value) or "TRACING__ENDPOINT" in str(raised.value)
