"""The dashboards: they are what the code gives, and a real Prometheus that scraped a real service can fill them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import grpc
import pytest
import yaml
from ml_microservice.api.grpc.messages import CLASSES, SERVICE

from bake import TEMPLATE
from conftest import run
from demo import HOST, example_request, free_port, open_url, serving, training_rows, wait_until_ready

TREE = TEMPLATE / "{{cookiecutter.project_slug}}/monitoring"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((TREE / "grafana/dashboards").glob("*.json"))}
PATIENCE_SECONDS = 300.0
"""For what takes 30: drift is computed by a process of low priority, and the machine may be busy."""
VARIABLES = {"$__rate_interval": "10s", "$__range": "1m", '"$job"': '"api"'}


def expressions(board: dict[str, Any]) -> dict[str, str]:
    """What a dashboard asks Prometheus, all variables set to everything, by panel and legend."""
    found = {}
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            found[f"{panel['title']}: {target['legendFormat']}"] = re.sub(r'"\$\w+"', '".*"', text)
    return found


def variable_queries(board: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The series that a dashboard's variables are taken from, and the label, by the variable."""
    found = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            assert match is not None
            found[variable["name"]] = (match[1].replace("$job", "api"), match[2])
    return found


def recorded() -> dict[str, str]:
    """The expressions of recording rules, by what they record."""
    groups = yaml.safe_load((TREE / "alerts/service.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "record" in rule]
    return {f"{rule['record']} {rule.get('labels')}": rule["expr"] for rule in rules}


@pytest.mark.t0
def test_the_dashboards_are_what_the_code_gives() -> None:
    run([sys.executable, "scripts/render_dashboards.py", "--check"], TEMPLATE, PYTHONPATH="scripts")


@pytest.mark.t0
@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_one_that_grafana_can_take(name: str) -> None:
    board = BOARDS[name]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert board["uid"] == f"ml-service-{name}"
    for panel in panels:
        assert panel["description"], f"{panel['title']} says nothing of itself"
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    cells = [
        (x, y)
        for panel in board["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "panels lie on each other"
    assert max(x for x, _ in cells) < 24


@pytest.mark.t3
@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("prometheus") or os.environ.get("CI")),
    reason="prometheus is not installed: apt-get install prometheus",
)
def test_a_prometheus_that_scraped_a_service_has_data_for_every_panel_and_rule(
    equipped: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, port, grpc_port, worker_port = equipped("penguins"), free_port(), free_port(), free_port()
    settings = {
        "API__WORKERS": "2",
        "API__GRPC_PORT": str(grpc_port),
        "RECORDS__DIRECTORY": str(tmp_path / "records"),
        "DATABASE__URL": f"sqlite:///{tmp_path}/records.db",
        "MONITORING__DIRECTORY": str(tmp_path / "monitoring"),
        "MONITORING__REFRESH_SECONDS": "20",
        "JOBS__BROKER": f"filesystem://{tmp_path}/messages",
        "JOBS__STORAGE": str(tmp_path / "files"),
        "JOBS__METRICS_PORT": str(worker_port),
        "JOBS__CONCURRENCY": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SERVICE__{name}", value)
    base = f"http://{HOST}:{port}"
    targets = {"api": port, "worker": worker_port}
    with (
        serving(project, port) as process,
        running([str(project / ".venv/bin/ml-service"), "worker"], project, tmp_path / "worker.log"),
    ):
        wait_until_ready(base, process)
        rows = training_rows(project)
        drifted = [{**row, "body_mass_g": 6300, "flipper_length_mm": 231} for row in rows]
        answers = post(f"{base}/predict/batch", drifted)["predictions"]
        feedback = [{"prediction_id": answer["prediction_id"], "label": answer["prediction"]} for answer in answers]
        post(f"{base}/feedback", feedback)
        # What is drifted is found by the first look of Prometheus, which has it computed.
        with prometheus(tmp_path, targets) as asked:
            fill(asked, base, grpc_port, example_request(project))
            for board in BOARDS.values():
                for variable, (series, label) in variable_queries(board).items():
                    found = ask(asked, "series", **{"match[]": series})
                    assert [values[label] for values in found], f"nothing to choose from for {variable}"
            for rule in loaded_rules(asked):
                assert rule["health"] == "ok", rule


def fill(asked: str, base: str, grpc_port: int, row: dict[str, Any]) -> None:
    """Use the service until there is data for every panel and every recorded rule."""
    missing = recorded()
    for name, board in BOARDS.items():
        missing |= {f"{name}: {panel}": expression for panel, expression in expressions(board).items()}
    deadline, is_worked_on = time.monotonic() + PATIENCE_SECONDS, False
    while missing and time.monotonic() < deadline:
        for _ in range(20):
            post(f"{base}/predict", row)
        if not is_worked_on:
            post(f"{base}/jobs", [row])
            is_worked_on = has_data(asked, "sum(job_rows_total) > 5")
        say_live(grpc_port)
        time.sleep(1)
        missing = {name: expression for name, expression in missing.items() if not has_data(asked, expression)}
    assert missing == {}


def post(url: str, body: object) -> dict[str, Any]:
    """The answer to a JSON document, for which a busy machine may take its time."""
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def say_live(port: int) -> None:
    """Ask for life over gRPC."""
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        channel.unary_unary(
            f"/{SERVICE}/ServerLive",
            request_serializer=CLASSES["ServerLiveRequest"].SerializeToString,
            response_deserializer=CLASSES["ServerLiveResponse"].FromString,
        )(CLASSES["ServerLiveRequest"](), timeout=10)


@contextmanager
def prometheus(folder: Path, targets: dict[str, int]) -> Iterator[str]:
    """A Prometheus with the project's rules that looks at each target once a second; its address."""
    port = free_port()
    scraped = [
        {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{target}"]}]} for name, target in targets.items()
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(TREE / "alerts/*.yml")],
        "scrape_configs": scraped,
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={HOST}:{port}"]
    with running(["prometheus", *options], folder, folder / "prometheus.log"):
        deadline = time.monotonic() + 30
        while True:
            try:
                open_url(Request(f"http://{HOST}:{port}/-/ready"))
                break
            except (URLError, OSError):
                assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
                time.sleep(0.1)
        yield f"http://{HOST}:{port}/api/v1"


@contextmanager
def running(command: list[str], folder: Path, log: Path) -> Iterator[None]:
    """A process that is asked to end with the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(address: str, what: str, **parameters: str) -> list[Any]:
    """What Prometheus answers.

    Raises:
        AssertionError: it does not understand the question.
    """
    try:
        answer = json.loads(open_url(Request(f"{address}/{what}?{urlencode(parameters)}")))
    except HTTPError as error:
        raise AssertionError(f"{parameters}: {error.read().decode()}") from None
    data = answer["data"]
    found: list[Any] = data["result"] if isinstance(data, dict) else data
    return found


def has_data(address: str, expression: str) -> bool:
    """Whether there is a number for an expression now."""
    return any(series["value"][1] != "NaN" for series in ask(address, "query", query=expression))


def loaded_rules(address: str) -> list[dict[str, Any]]:
    """All rules, with how their evaluation went."""
    answer = json.loads(open_url(Request(f"{address}/rules")))
    return [rule for group in answer["data"]["groups"] for rule in group["rules"]]
