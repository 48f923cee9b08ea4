"""A service whose sink goes and comes back under load: it answers as before, and nothing is lost."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_microservice.records.database.store import open_store
from ml_microservice.records.documents import PROBABILITY
from ml_microservice.records.positions import load_position, position_file
from ml_microservice.records.record import PredictionRecord
from ml_microservice.records.segment import segment_files
from ml_microservice.records.status import StatusReader
from ml_microservice.settings import load_settings
from tests.records.callers import Callers, assert_accounted_for, calling
from tests.records.lag import is_shipped
from tests.records.serving import serving, until
from tests.records.sinks.conftest import Receiver

pytestmark = pytest.mark.slow

CLIENTS, TURNS, SECONDS = 4, 3, 2.0
"""Seconds for which the sink is up, and then down, in each turn."""
NOISE = 3.0
"""By less, two 99th percentiles of the same thing differ on a machine that has other things to do."""
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def test_postgresql_goes_and_comes_back_and_no_caller_feels_it(project: Path, postgresql: Any) -> None:
    variables = {"SERVICE__DATABASE__URL": postgresql.new_database()}
    callers, ratio = call(project, "database", postgresql.stop, postgresql.start, **variables)
    with open_store(load_settings(project, variables)) as store:
        assert_accounted_for(callers, list(store.records(*ALWAYS)))
    assert ratio < NOISE


def test_fluentd_goes_and_comes_back_and_no_caller_feels_it(project: Path, receiver: Receiver) -> None:
    variables = {"SERVICE__RECORDS__SINKS": "fluentd", "SERVICE__FLUENTD__PORT": str(receiver.start().port)}
    callers, ratio = call(project, "fluentd", receiver.kill, receiver.start, **variables)
    taken: dict[str, Any] = {}
    for event in receiver.events():
        # What was not acknowledged comes again, and is the same.
        assert taken.setdefault(event["record"]["prediction_id"], event["record"]) == event["record"]
    assert_accounted_for(callers, [record_of(document) for document in taken.values()])
    assert ratio < NOISE


def call(
    project: Path, sink: str, stop: Callable[[], object], start: Callable[[], object], **variables: str
) -> tuple[Callers, float]:
    """Have a service called while its sink goes and comes back, until the sink has everything.

    Returns:
        The clients, and the 99th percentile of their waits with the sink down over that with it up.
    """
    directory = project / "var/records"
    up, down = [], []
    with serving(project, **variables) as service, calling(service.port, CLIENTS, is_mixed=False) as callers:

        def is_failing() -> bool:
            return load_position(position_file(directory, sink)).failure is not None

        until(lambda: load_position(position_file(directory, sink)).shipped > 0)
        for _ in range(TURNS):
            up.append(a_while())
            stop()
            try:
                until(is_failing)
                down.append(a_while())
            finally:
                start()
            until(lambda: not is_failing())
        callers.end()
        until(lambda: is_shipped(StatusReader(directory, "houses", [sink], is_exact=True).read()))
        service.stop()
    assert callers.unanswered == set()
    assert segment_files(directory) == []
    assert not (directory / "dead-letter").exists()
    p99_up, p99_down = (np.percentile([s for one in turns for s in callers.seconds(*one)], 99) for turns in (up, down))
    return callers, float(p99_down / p99_up)


def a_while() -> tuple[float, float]:
    """Its start and its end, by the monotonic clock."""
    began = time.monotonic()
    time.sleep(SECONDS)
    return began, time.monotonic()


def record_of(document: dict[str, Any]) -> PredictionRecord:
    """The prediction that Fluentd was sent, without its inputs."""
    names = ("prediction_id", "route", "model_version", "model_id", "entity_id", "prediction", "latency_ms")
    probabilities = {
        key.removeprefix(PROBABILITY): value for key, value in document.items() if key.startswith(PROBABILITY)
    }
    return PredictionRecord(
        **{name: document[name] for name in names}, time=document["@timestamp"], inputs={}, probabilities=probabilities
    )
