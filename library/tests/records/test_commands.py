"""From predictions over HTTP to a labelled file, with the processes and the commands that a user runs."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml_microservice.records.database.store import open_store
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.settings import Settings, load_settings
from tests.ports import free_port
from tests.waiting import until

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
VARIABLES = {"SERVICE__RECORDS__SHIPPING": "separate"}


@pytest.fixture
def environment() -> dict[str, str]:
    """Of the processes."""
    return {**os.environ, "PYTHONPATH": SOURCE, **VARIABLES}


def service(project: Path, environment: dict[str, str], *arguments: str, status: int = 0) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "ml_microservice.cli", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return " ".join((done.stdout + done.stderr).split())


@contextmanager
def serving(project: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of the service with two workers; ended with the block."""
    port = str(free_port())
    command = [sys.executable, "-m", "ml_microservice.cli", "serve", "--port", port, "--workers", "2"]
    process = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def post(url: str, content: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.mark.slow
def test_from_predictions_to_what_they_were_worth(project: Path, environment: dict[str, str], tmp_path: Path) -> None:
    with serving(project, environment) as address:
        ids = []
        for area in range(100, 300, 10):
            row = {"floor area": area, "lift": True, "house id": f"h{area}"}
            ids.append(post(f"{address}/predict", row)["prediction_id"])
        sent = [{"prediction_id": one, "label": "no"} for one in ids[:8]]
        assert post(f"{address}/feedback", sent)["failed"] == 0
        for one in ids[5:8]:
            post(f"{address}/feedback", {"prediction_id": one, "label": "yes"})
        assert "The database was of revision none" in service(project, environment, "records", "migrate")
        service(project, environment, "records", "ship", "--once")
        with urllib.request.urlopen(f"{address}/monitoring/performance?window=1h", timeout=120) as response:
            (answered,) = json.load(response)["models"]

    assert (answered["predictions"], answered["with_feedback"]) == (20, 8)
    assert answered["metrics"]["accuracy"] == pytest.approx(5 / 8)  # small houses are predicted 'no'
    (printed,) = json.loads(service(project, environment, "performance", "--json"))["models"]
    assert printed == answered
    assert "20 predictions, 8 with feedback (40.0%)" in service(project, environment, "performance", "--window", "2h")

    labelled = tmp_path / "labelled.parquet"
    told = service(project, environment, "records", "export", "--labelled", str(labelled))
    assert "8 rows" in told
    assert "owner is personal data" in told
    assert pd.read_parquet(labelled)["sold"].tolist() == ["no"] * 5 + ["yes"] * 3
    assert "20 rows" in service(project, environment, "records", "export", str(tmp_path / "all.csv"), "--window", "1d")

    kept = service(project, environment, "records", "prune", "--older-than", "1d")
    assert kept == "Deleted 0 predictions and 0 feedbacks"
    time.sleep(1.1)
    pruned = service(project, environment, "records", "prune", "--older-than", "1s")
    assert pruned == "Deleted 20 predictions and 11 feedbacks"


@pytest.mark.slow
def test_a_record_and_a_feedback_by_one_command_each_while_no_service_runs(
    project: Path, environment: dict[str, str]
) -> None:
    nothing = service(project, environment, "records", "show", status=1)
    assert "the database has no prediction -> `ml-service records status` says what is still on its way" in nothing
    with serving(project, {**environment, "SERVICE__RECORDS__SHIPPING": "with_service"}) as address:
        for area in (150, 250):
            newest = post(f"{address}/predict", {"floor area": area, "lift": True, "owner": "Ada"})["prediction_id"]
        # On a busy machine the last seconds of a service may not do for it.
        until(lambda: len(recorded(load_settings(project, {}))) == 2, seconds=60)
    shown = json.loads(service(project, environment, "records", "show"))
    assert (shown["prediction_id"], shown["prediction"], shown["feedback"]) == (newest, "yes", None)
    assert shown["inputs"]["floor area"] == 250
    assert "owner" not in shown["inputs"]

    wrong = service(project, environment, "feedback", newest, "perhaps", status=1)
    assert "label must be one of 'no', 'yes'" in wrong
    assert service(project, environment, "feedback", newest, "no", "--source", "survey") == "Taken and shipped"
    told = json.loads(service(project, environment, "records", "show", newest))["feedback"]
    assert (told["label"], told["source"]) == ("no", "survey")
    assert "'h1' is no UUID" in service(project, environment, "records", "show", "h1", status=1)
    assert service(project, environment, "records", "show", "--count", "9").count('"prediction_id"') == 3


@pytest.mark.slow
def test_postgresql_stopped_and_started_under_load_has_every_answer_once(
    project: Path, postgresql: Any, environment: dict[str, str]
) -> None:
    url = postgresql.new_database()
    variables = {"SERVICE__DATABASE__URL": url, "SERVICE__RECORDS__SHIPPING": "with_service"}
    settings = load_settings(project, variables)
    ids: list[str] = []

    def ask(address: str, count: int) -> None:
        for area in range(count):
            prediction_id = post(f"{address}/predict", {"floor area": 20 + area, "lift": True})["prediction_id"]
            post(f"{address}/feedback", {"prediction_id": prediction_id, "label": "yes"})
            ids.append(prediction_id)

    with serving(project, {**environment, **variables}) as address:
        askers = [threading.Thread(target=ask, args=(address, 300)) for _ in range(2)]
        for asker in askers:
            asker.start()
        until(lambda: len(ids) > 100, seconds=60)
        postgresql.stop()
        try:
            reached = len(ids)
            until(lambda: len(ids) > reached + 100, seconds=60)  # the service answers on
        finally:
            postgresql.start()
        for asker in askers:
            asker.join()
        assert len(ids) == 600
        until(lambda: len(recorded(settings)) >= 1200, seconds=120)
    records = recorded(settings)
    assert sorted(one.id for one in records if isinstance(one, PredictionRecord)) == sorted(ids)
    assert sorted(one.prediction_id for one in records if isinstance(one, FeedbackRecord)) == sorted(ids)


def recorded(settings: Settings) -> list[Record]:
    """What is in the database."""
    with open_store(settings) as store:
        return list(store.records(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)))


@pytest.mark.slow
def test_what_cannot_be_done_is_said(project: Path, environment: dict[str, str]) -> None:
    assert "records.retention_days" in service(project, environment, "records", "prune", status=1)
    assert "is not a whole number and s, m" in service(
        project, environment, "records", "prune", "--older-than", "old", status=1
    )
    assert "is not a known format" in service(project, environment, "records", "export", "rows.txt", status=1)
    assert "POST /feedback" in service(project, environment, "records", "export", "--labelled", "rows.csv", status=1)
    away = {**environment, "SERVICE__DATABASE__URL": "postgresql://user@127.0.0.1:1/name"}
    assert "postgresql+psycopg://user@127.0.0.1:1/name:" in service(project, away, "performance", status=1)
