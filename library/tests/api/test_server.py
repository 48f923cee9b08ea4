"""The service as its users run it: a process of its own, several workers, signals."""

import hashlib
import http.client
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from ml_microservice.records.positions import load_position, position_file
from ml_microservice.records.status import StatusReader
from ml_microservice.settings import load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train
from tests import waiting
from tests.ports import free_port

until = partial(waiting.until, seconds=20)

HOUSE = json.dumps({"floor area": 300.0, "lift": True}).encode()
SHIPPING = {"SERVICE__RECORDS__SINKS": "stdout", "SERVICE__RECORDS__SHIPPING": "with_service"}


@contextmanager
def serving(project: Path, *options: str, **variables: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The service of a project, ready to answer; ended with the block."""
    port = free_port()
    command = [sys.executable, "-m", "ml_microservice.cli", "serve", "--port", str(port), *options]
    source = Path(__file__).resolve().parents[2] / "src"
    # Without a database nothing is computed from records when /metrics are read, which is not of interest here.
    apart = {"SERVICE__RECORDS__SHIPPING": "separate", "SERVICE__RECORDS__SINKS": "stdout"}
    settled = {"PYTHONPATH": str(source), **apart}
    environment = {**os.environ, **settled, **variables}
    process = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process)
        yield address, process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_until_ready(address: str, process: "subprocess.Popen[str]") -> None:
    """Wait for the first answer of the readiness probe."""
    for _ in range(300):
        assert process.poll() is None, process.communicate()[1]
        try:
            urllib.request.urlopen(f"{address}/health/ready", timeout=1).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("the service did not become ready")


def post(url: str, body: bytes = HOUSE) -> dict[str, Any]:
    """The answer to a JSON body."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def children(process: "subprocess.Popen[str]") -> set[int]:
    """The pids of a service's workers."""
    return {int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


def served_models(address: str) -> list[str]:
    """The versions that the metrics say are served."""
    return re.findall(r'^model_info\{.*version="(.*?)"', metrics(address), re.MULTILINE)


def answered(address: str) -> float:
    """How many predictions all workers together have answered."""
    found = re.search(r'^http_requests_total\{.*route="/predict",status="200"\} (\S+)$', metrics(address), re.MULTILINE)
    return float(found[1]) if found else 0.0


def metrics(address: str) -> str:
    """What the service tells Prometheus."""
    text: str = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
    return text


def gauge(address: str, name: str) -> float:
    """A metric without labels."""
    return float(re.findall(rf"^{name} (\S+)$", metrics(address), re.MULTILINE)[0])


def ask_until_refused(address: str) -> tuple[int, list[str]]:
    """Post on one connection after the other until nobody listens any more.

    Returns:
        How many requests were answered, and what became of those that were not.
    """
    host, count = address.removeprefix("http://"), 0
    lost: list[str] = []
    while True:
        caller = http.client.HTTPConnection(host, timeout=20)
        try:
            caller.connect()
        except ConnectionRefusedError:
            return count, lost
        try:
            is_last = False
            while not is_last:
                caller.request("POST", "/predict", HOUSE, {"content-type": "application/json"})
                response = caller.getresponse()
                response.read()
                is_last = response.getheader("connection") == "close"
                count += response.status == 200
        except (OSError, http.client.HTTPException) as error:
            lost.append(repr(error))
        finally:
            caller.close()


def rename(version: Path, name: str) -> Path:
    """A copy of a model version under another name, as if it had been trained again; made the current one."""
    copy = Path(shutil.copytree(version, version.parent / name))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "version": name}))
    (version.parent / "current").write_text(name)
    return copy


def memory(pids: set[int]) -> float:
    """Memory of processes in MB, pages that they share counted once."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0]) for text in texts) / 1000


SLOW_MODEL = """
import time
import numpy as np

class Slow:
    classes_ = np.array(["no", "yes"])

    def predict(self, rows):
        {work}
        return np.full(rows.shape[0], "yes")
"""
CALL_SECONDS = 0.1
WORK = {
    "sleeping": f"time.sleep({CALL_SECONDS})",
    "computing": f"end = time.thread_time() + {CALL_SECONDS}\n        while time.thread_time() < end: sum(range(99))",
}


def slowest(url: str) -> float:
    """The 99th percentile of the seconds that requests took."""
    times = []
    for _ in range(100):
        start = time.perf_counter()
        urllib.request.urlopen(url, timeout=60).close()
        times.append(time.perf_counter() - start)
    return sorted(times)[98]


def slowest_at_work(url: str, limit: float) -> float:
    """The same while the model computes. Above the limit it is measured again, at most twice.

    A probe that waits for the model does so each time; one that waits for a busy machine does not.
    """
    found = slowest(url)
    for _ in range(2):
        if found >= limit:
            found = min(found, slowest(url))
    return found


def milliseconds(seconds: Iterable[float]) -> list[float]:
    """For people."""
    return [round(second * 1000, 1) for second in seconds]


def test_metrics_add_up_over_all_workers(project: Path) -> None:
    with serving(project, "--workers", "2") as (address, _process):
        for _ in range(40):
            post(f"{address}/predict")
        counts = set()
        for _ in range(10):
            text = metrics(address)
            found = re.search(r'^http_requests_total\{.*route="/predict",status="200"\} (\S+)$', text, re.MULTILINE)
            assert found is not None
            counts.add(float(found[1]))
            assert len(re.findall(r"^model_info\{", text, re.MULTILINE)) == 1
        assert counts == {40.0}


def test_metrics_tell_how_many_requests_are_in_work_in_all_workers_and_when_the_busiest_was(project: Path) -> None:
    with serving(project, "--workers", "2", SERVICE__API__MAX_CONCURRENCY="50") as (address, _process):
        host, port = address.removeprefix("http://").split(":")
        until(lambda: gauge(address, "service_workers_ready") == gauge(address, "service_workers") == 2)
        callers = [socket.create_connection((host, int(port)), timeout=20) for _ in range(10)]
        for caller in callers:  # whose body is not whole yet
            caller.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
        until(lambda: gauge(address, "requests_in_work") == 10)
        for caller in callers:
            caller.close()
        until(lambda: gauge(address, "requests_in_work") == 0)
        assert gauge(address, "requests_in_work_peak") >= 5
        assert gauge(address, "requests_in_work_limit") == 50


def test_sigterm_lets_requests_in_work_finish_and_ends_with_0(project: Path) -> None:
    with serving(project) as (address, process):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            head = (
                f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(HOUSE)}"
            )
            caller.sendall(f"{head}\r\n\r\n".encode() + HOUSE[:10])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            caller.sendall(HOUSE[10:])
            answer = b"".join(iter(lambda: caller.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"prediction":"yes"' in answer
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_drops_no_request(project: Path, workers: str) -> None:
    with ThreadPoolExecutor(8) as callers, serving(project, "--workers", workers) as (address, process):
        asked = [callers.submit(ask_until_refused, address) for _ in range(8)]
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        outcomes = [one.result(timeout=30) for one in asked]
        assert process.wait(timeout=20) == 0
    assert [lost for _, lost in outcomes if lost] == []
    assert sum(count for count, _ in outcomes) > 100


def test_a_killed_worker_is_replaced_and_its_counts_stay(project: Path) -> None:
    with serving(project, "--workers", "2") as (address, process):
        for _ in range(20):
            post(f"{address}/predict")
        before = children(process)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(children(process)) == 2 and killed not in children(process))
        for _ in range(20):
            post(f"{address}/predict")
        assert answered(address) == 40
        assert before - {killed} < children(process)


def test_workers_do_not_outlive_their_parent(project: Path) -> None:
    with serving(project, "--workers", "2") as (address, process):
        workers = children(process)
        process.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").is_file() for pid in workers))
        with pytest.raises(urllib.error.URLError):
            post(f"{address}/predict")


def test_sighup_brings_the_current_model_and_never_a_worse_one(project: Path) -> None:
    folder = project / "model_bin"
    trained = folder / (folder / "current").read_text().strip()
    with ThreadPoolExecutor(1) as callers, serving(project, "--workers", "2") as (address, process):
        asked = callers.submit(ask_until_refused, address)
        rename(trained, "20300101-000000-aaaaaa")
        process.send_signal(signal.SIGHUP)
        until(lambda: {post(f"{address}/predict")["model_version"] for _ in range(9)} == {"20300101-000000-aaaaaa"})
        until(lambda: len(children(process)) == 2)
        until(lambda: served_models(address) == ["20300101-000000-aaaaaa"])
        workers = children(process)
        damaged = rename(trained, "20300101-000000-bbbbbb")
        (damaged / "golden.json").write_text("[]")
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert children(process) == workers
        assert post(f"{address}/predict")["model_version"] == "20300101-000000-aaaaaa"
        process.send_signal(signal.SIGTERM)
        assert asked.result(timeout=30)[1] == []
        assert "golden.json" in process.communicate(timeout=20)[1]


@pytest.mark.slow
def test_workers_share_the_model_in_memory_unless_they_may_not(
    tmp_path: Path, house_hooks: Hooks, project: Path
) -> None:
    def heavy() -> Any:
        preprocessor = house_hooks.preprocessor()
        preprocessor.ballast = np.arange(8_000_000.0)  # 64 MB
        return preprocessor

    train(load_settings(project, {"SERVICE__TRAINING__COMPILE": "false"}), replace(house_hooks, preprocessor=heavy))
    used = {}
    for preload in ("true", "false"):
        with serving(project, "--workers", "2", SERVICE__API__PRELOAD=preload) as (address, process):
            until(lambda: len(children(process)) >= 2)
            for _ in range(30):
                assert post(f"{address}/predict")["prediction"] == "yes"
            used[preload] = memory({process.pid, *children(process)})
    assert used["true"] < used["false"] - 50


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORK)
def test_probes_do_not_wait_for_a_slow_model(
    project: Path, house_hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    module = f"slow_{kind}"
    (tmp_path / f"{module}.py").write_text(SLOW_MODEL.format(work=WORK[kind]))
    monkeypatch.syspath_prepend(tmp_path)
    slow = importlib.import_module(module).Slow
    hooks = replace(house_hooks, train_model=lambda *_: slow(), get_classes=lambda _: ["no", "yes"])
    train(load_settings(project, {"SERVICE__TRAINING__COMPILE": "false"}), hooks)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2] / "src")])
    with ThreadPoolExecutor(16) as callers, serving(project, PYTHONPATH=path) as (address, process):
        probes = [f"{address}{path}" for path in ("/health/live", "/metrics")]
        idle = [slowest(url) for url in probes]
        asked = [callers.submit(ask_until_refused, address) for _ in range(16)]
        time.sleep(1)
        limits = [unloaded + CALL_SECONDS / 2 for unloaded in idle]
        busy = [slowest_at_work(url, limit) for url, limit in zip(probes, limits, strict=True)]
        process.send_signal(signal.SIGTERM)
        assert all(one.result(timeout=30)[0] > 0 for one in asked)
    print(f"99th percentile in ms, {kind}: idle {milliseconds(idle)}, busy {milliseconds(busy)}")  # shown by -s
    assert all(loaded < limit for loaded, limit in zip(busy, limits, strict=True)), (idle, busy)


def failing(project: Path, *options: str, **variables: str) -> str:
    """What a start that must fail prints."""
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), **variables}
    command = [sys.executable, "-m", "ml_microservice.cli", "serve", *options]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_a_start_that_cannot_succeed_says_what_to_do(project: Path) -> None:
    assert "SERVICE__API__KEYS" in failing(project, SERVICE__ENVIRONMENT="production")
    assert "did you mean 'SERVICE__API__PORT'" in failing(project, SERVICE__API__PROT="1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in failing(project, "--port", str(port))
        assert "choose another as api.grpc_port" in failing(project, "--port", "0", SERVICE__API__GRPC_PORT=str(port))
    (project / "model_bin" / "current").unlink()
    assert "run 'make train'" in failing(project)


@pytest.mark.parametrize("preload", ["true", "false"])
def test_workers_that_cannot_start_end_the_service(project: Path, preload: str) -> None:
    folder = project / "model_bin"
    version = folder / (folder / "current").read_text().strip()
    golden = json.loads((version / "golden.json").read_text())
    changed = json.dumps([{**row, "prediction": {"yes": "no", "no": "yes"}[row["prediction"]]} for row in golden])
    (version / "golden.json").write_text(changed)
    manifest = json.loads((version / "manifest.json").read_text())
    digest = hashlib.sha256(changed.encode()).hexdigest()
    manifest["files"]["golden.json"] = {"sha256": digest, "size": len(changed.encode())}
    (version / "manifest.json").write_text(json.dumps(manifest))
    said = failing(project, "--workers", "2", "--port", str(free_port()), SERVICE__API__PRELOAD=preload)
    assert "golden rows are answered otherwise than in training" in said


def test_a_deployed_service_is_asked_for_the_example_of_its_documentation(project: Path) -> None:
    with serving(project, SERVICE__API__KEYS="first,second") as (address, _):
        assert "No valid API key" in smoked(project, address, succeeds=False)
        answer = json.loads(smoked(project, address, SERVICE__API__KEYS="second"))
        assert answer["prediction"] in ("yes", "no")
    assert "does not answer" in smoked(project, address, succeeds=False)


def smoked(project: Path, address: str, succeeds: bool = True, **variables: str) -> str:
    """What `ml-service smoke` says."""
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "500", **variables}
    command = [sys.executable, "-m", "ml_microservice.cli", "smoke", address]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) is succeeds, done.stderr
    return done.stdout or done.stderr


def test_grpc_is_served_beside_http_by_all_workers(project: Path) -> None:
    port = free_port()
    with serving(project, "--workers", "2", SERVICE__API__GRPC_PORT=str(port)) as (address, process):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"", timeout=10) == b"\x08\x01"
        text = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
        assert 'grpc_requests_total{code="OK",method="ServerReady"} 1.0' in text
    assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_records_are_shipped_while_the_service_runs_and_before_it_ends(project: Path, workers: str) -> None:
    records = project / "var" / "records"
    with serving(project, "--workers", workers, **SHIPPING) as (address, process):
        for _ in range(30):
            post(f"{address}/predict")
        until(lambda: 'records_lag_records{sink="stdout"} 0.0' in metrics_of(address) and shipped(records) == 30)
        for _ in range(20):
            post(f"{address}/predict")
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert shipped(records) == 50
    assert list((records / "segments").iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_shipping_ends_with_a_service_that_is_killed(project: Path, workers: str) -> None:
    records = project / "var" / "records"
    with serving(project, "--workers", workers, **SHIPPING) as (address, process):
        until(lambda: is_shipping(records))
        post(f"{address}/predict")
        process.kill()
        process.wait()
        until(lambda: not is_shipping(records))


def metrics_of(address: str) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=5) as response:
        return str(response.read().decode())


def shipped(records: Path) -> int:
    """Records that stdout has taken."""
    return load_position(position_file(records, "stdout")).shipped


def is_shipping(records: Path) -> bool:
    """Whether a process ships the records of a folder."""
    return StatusReader(records, "houses", ["stdout"], is_exact=True).read().is_shipping
