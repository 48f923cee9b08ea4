"""Everything at once: clients over HTTP, while services, workers, the broker and the database are killed."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.records.database.store import open_store
from ml_microservice.settings import Settings, load_settings
from tests.jobs.brokers import RabbitMQ, rabbitmq, rabbitmq_server
from tests.jobs.worker_processes import Jobs, until, working
from tests.postgresql import Server
from tests.records.serving import serving

__all__ = ["rabbitmq", "rabbitmq_server"]
pytestmark = pytest.mark.slow

CLIENTS, SEED = 8, 20261121


class Client(threading.Thread):
    """Submits jobs one after the other, each with its key, until it is told that the job is taken.

    Args:
        port: of the service.
        name: the start of its keys.
        count: of jobs.
    """

    def __init__(self, port: int, name: str, count: int) -> None:
        super().__init__(daemon=True)
        self.taken: dict[str, str] = {}
        """Ids of jobs, by key, which is the house's id too."""
        self.again = 0
        """How often a job was sent once more."""
        self._port, self._name, self._count = port, name, count
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Submit."""
        for number in range(self._count):
            key = f"{self._name}-{number}"
            while key not in self.taken:
                try:
                    self._submit(key, 20.0 + number % 300)
                except (OSError, http.client.HTTPException, ValueError):
                    self._connection = None
                if key not in self.taken:
                    self.again += 1
                    time.sleep(0.05)

    def _submit(self, key: str, area: float) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        body = json.dumps({"floor area": area, "lift": True, "house id": key})
        headers = {"content-type": "application/json", "idempotency-key": key}
        self._connection.request("POST", "/jobs", body, headers)
        response = self._connection.getresponse()
        document = json.loads(response.read())
        if response.status == 202:
            self.taken[key] = document["job_id"]
        else:
            assert response.status in (429, 500, 503), document


@contextmanager
def submitting(port: int, count: int) -> Iterator[list[Client]]:
    """Clients that submit so many jobs together."""
    clients = [Client(port, f"c{index}", count // CLIENTS) for index in range(CLIENTS)]
    for client in clients:
        client.start()
    yield clients


def taken(clients: list[Client]) -> dict[str, str]:
    """Ids of jobs, by key."""
    return {key: job_id for client in clients for key, job_id in dict(client.taken).items()}


def assert_each_has_one_result(jobs: Jobs, by_key: dict[str, str]) -> None:
    """Every job that was taken has succeeded, once, and its prediction is recorded, once."""
    store, settings = jobs.store, jobs.settings
    assert len({*by_key.values()}) == len(by_key)
    with store._reading() as connection:
        rows = connection.execute(text("SELECT idempotency_key, job_id, state FROM jobs")).all()
        count = connection.execute(text("SELECT count(*) FROM job_chunks WHERE result IS NOT NULL")).scalar()
    assert {row.idempotency_key: str(row.job_id) for row in rows} == by_key
    assert {row.state for row in rows} == {"succeeded"}
    assert (len(rows), count) == (len(by_key), len(by_key))
    kept = records_of(settings)
    assert len(kept) == len(by_key), f"{len(kept)} records of {len(by_key)} jobs"
    told = {key: jobs.results(job_id)[0].answers.prediction_ids[0] for key, job_id in [*by_key.items()][::50]}
    recorded = dict(kept)
    assert {key: recorded[key] for key in told} == told


def records_of(settings: Settings) -> list[tuple[str, str]]:
    """Entity id and prediction id of all predictions that are recorded."""
    with open_store(settings) as store:
        return [(str(record.entity_id), record.prediction_id) for record, _ in store.latest(100_000, None)]


def unfinished(store: JobStore) -> int:
    """How many jobs have not ended."""
    states = store.statistics().jobs
    return states["queued"] + states["running"]


def test_of_10_000_jobs_each_has_one_result_whatever_is_killed(
    project: Path, postgresql: Server, rabbitmq: RabbitMQ
) -> None:
    chance = random.Random(SEED)
    count = 10_000
    variables = {
        "SERVICE__DATABASE__URL": postgresql.new_database(),
        "SERVICE__JOBS__BROKER": rabbitmq.url,
        "SERVICE__JOBS__BROKER_PASSWORD": "guest",
        "SERVICE__JOBS__CONCURRENCY": "1",
        "SERVICE__JOBS__LEASE_SECONDS": "5",
        "SERVICE__JOBS__MAX_ATTEMPTS": "50",
    }
    jobs = Jobs(project, variables)
    with serving(project, **variables) as service, working(project, variables, count=2) as workers:

        def restart(*parts: Callable[[], Any]) -> None:
            parts[0]()
            time.sleep(chance.uniform(0, 0.5))
            parts[1]()

        kills = [
            lambda: restart(workers[0].kill, workers[0].start),
            lambda: restart(workers[1].kill, workers[1].start),
            lambda: restart(service.kill, service.start),
            lambda: restart(rabbitmq.kill, rabbitmq.start),
            lambda: restart(postgresql.stop, postgresql.start),
        ]
        chance.shuffle(kills)
        with submitting(service.port, count) as clients:
            for step, kill in enumerate(kills, 1):
                done = jobs.store.statistics().jobs["succeeded"]
                until(lambda step=step: len(taken(clients)) >= step * count / (len(kills) + 1))  # type: ignore[misc]
                # Whatever is killed is at work.
                until(lambda done=done: jobs.store.statistics().jobs["succeeded"] > done + 100)  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.3))
                kill()
            for client in clients:
                client.join(300)
        by_key = taken(clients)
        assert len(by_key) == count
        until(lambda: unfinished(jobs.store) == 0)
        for worker in workers:
            worker.terminate()
            assert worker.wait() == 0
        until(lambda: len(records_of(jobs.settings)) >= count)
    assert sum(client.again for client in clients) > 0
    assert_each_has_one_result(jobs, by_key)


def test_on_a_laptop_a_service_and_a_worker_killed_together_lose_nothing(project: Path) -> None:
    count = 400
    variables = {"SERVICE__API__WORKERS": "1", "SERVICE__JOBS__CONCURRENCY": "2", "SERVICE__JOBS__LEASE_SECONDS": "2"}
    jobs = Jobs(project, variables)
    with serving(project, **variables) as service, working(project, variables) as [worker]:
        with submitting(service.port, count) as clients:
            until(lambda: len(taken(clients)) > count / 3)
            worker.kill()
            service.kill()
            worker.start()
            service.start()
            for client in clients:
                client.join(120)
        by_key = taken(clients)
        assert len(by_key) == count
        until(lambda: unfinished(jobs.store) == 0)
        worker.terminate()
        assert worker.wait() == 0
        until(lambda: len(records_of(load_settings(project, variables))) >= count)
    assert_each_has_one_result(jobs, by_key)
