"""Sending messages, and what is said where that cannot be."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ml_microservice.errors import BrokerError, ConfigError
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.worker.prediction_ids import prediction_ids
from ml_microservice.settings import Settings, load_settings
from tests.jobs.brokers import RabbitMQ, broker_url, rabbitmq, rabbitmq_server, redis
from tests.jobs.worker_processes import SOURCE, until
from tests.ports import free_port

__all__ = ["broker_url", "rabbitmq", "rabbitmq_server", "redis"]

SETTLED_SECONDS = 6
"""After which RabbitMQ has written a new quorum queue; killed before, it comes back with one that takes nothing."""


def settings(folder: Path, broker: str) -> Settings:
    """Settings of a project on a broker."""
    (folder / "config.yaml").write_text("name: houses\n")
    password = {"SERVICE__JOBS__BROKER_PASSWORD": "guest"} if broker.startswith("amqp") else {}
    return load_settings(folder, {"SERVICE__JOBS__BROKER": broker, **password})


def test_messages_of_small_and_large_jobs_wait_apart(tmp_path: Path, broker_url: str) -> None:
    queue = JobQueue(settings(tmp_path, broker_url))
    assert queue.depth() == {"small": 0, "bulk": 0, "dead": 0}
    queue.publish([[("a", 0), ("b", 0)], [("c", 0)]], [("d", 0), ("d", 1), ("d", 2)])
    assert queue.depth() == {"small": 2, "bulk": 3, "dead": 0}
    queue.close()
    queue.publish([[("e", 0)]], [])
    assert queue.depth()["small"] == 3


@pytest.mark.slow
def test_a_broker_that_is_away_is_told_of_until_it_is_back(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    queue = JobQueue(settings(tmp_path, rabbitmq.url))
    queue.publish([[("a", 0)]], [])
    time.sleep(SETTLED_SECONDS)
    rabbitmq.kill()
    with pytest.raises(BrokerError, match="failed: "):
        queue.publish([[("b", 0)]], [])
    with pytest.raises(BrokerError, match="a moment ago"):
        queue.publish([[("b", 0)]], [])
    rabbitmq.start()
    until(lambda: is_published(queue))
    assert queue.depth()["small"] >= 2, "what was confirmed is lost"


def is_published(queue: JobQueue) -> bool:
    """Whether a message could be sent."""
    try:
        queue.publish([[("b", 0)]], [])
    except BrokerError:
        return False
    return True


def test_nothing_that_listens_on_the_port_is_a_broker_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="failed: "):
        JobQueue(settings(tmp_path, f"redis://127.0.0.1:{free_port()}/0")).publish([[("a", 0)]], [])


def test_without_a_broker_there_is_no_queue(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"jobs\.broker is null"):
        JobQueue(settings(tmp_path, ""))


def test_a_worker_without_a_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: houses\n")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "ml_microservice.cli", "worker"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "train" in done.stderr


def test_a_row_has_the_same_prediction_id_however_its_job_is_cut() -> None:
    job_id, other = str(uuid4()), str(uuid4())
    ids = prediction_ids(job_id, range(10))
    assert ids == [*prediction_ids(job_id, range(7)), *prediction_ids(job_id, [7, 8, 9])]
    assert len({*ids, *prediction_ids(other, range(10))}) == 20
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(8, "specified in RFC 4122")}
    assert prediction_ids(job_id, []) == []
