"""Workers as they run, on every broker, with a model that is bad for some values."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ml_microservice.records.database.store import open_store
from ml_microservice.settings import load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train
from tests.conftest import CONFIG, FEATURES, HouseLoader, house_classes, train_on_houses
from tests.jobs.brokers import RabbitMQ, Redis, broker_url, rabbitmq, rabbitmq_server, redis
from tests.jobs.poisoned_model import DEADLY, ENDLESS, SLOW, PoisonedPreprocessor
from tests.jobs.worker_processes import Jobs, until, working

__all__ = ["broker_url", "rabbitmq", "rabbitmq_server", "redis"]


@pytest.fixture(scope="module")
def poisoned_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model is bad for some values."""
    root = tmp_path_factory.mktemp("poisoned")
    (root / "src" / "model").mkdir(parents=True)
    (root / "src" / "model" / "features.yaml").write_text(FEATURES)
    (root / "config.yaml").write_text(CONFIG + "training: {compile: false}\n")
    train(load_settings(root, {}), Hooks(HouseLoader, PoisonedPreprocessor, train_on_houses, house_classes, root))
    return root


@pytest.fixture
def project(poisoned_project: Path, tmp_path: Path) -> Path:
    """A copy of it, without what others left in it."""
    return Path(shutil.copytree(poisoned_project, tmp_path / "project", ignore=shutil.ignore_patterns("var")))


def variables(url: str, **others: Any) -> dict[str, str]:
    """Settings of workers on a broker, with short times."""
    values = {"broker": url, "broker_password": "guest", "concurrency": 1, "lease_seconds": 2, **others}
    if not url.startswith("amqp"):
        del values["broker_password"]
    return {f"SERVICE__JOBS__{name.upper()}": str(value) for name, value in values.items()}


def recorded(project: Path) -> list[tuple[str, str]]:
    """Prediction ids and entity ids of all that is recorded, once a worker has shipped it."""
    with open_store(load_settings(project, {})) as store:
        return [(record.prediction_id, str(record.entity_id)) for record, _ in store.latest(100_000, None)]


def test_jobs_run_on_every_broker_and_each_of_their_rows_is_recorded_once(project: Path, broker_url: str) -> None:
    settings = variables(broker_url)
    jobs = Jobs(project, settings)
    small = jobs.submit([100, 300, "large", 301])
    large = jobs.submit_large([[100, 300, 5], [20, 30]])
    broken = jobs.submit_large([["100,true,1"], [100]])
    with working(project, settings) as [worker]:
        assert [job.state for job in jobs.finished(small)] == ["succeeded", "succeeded", "failed", "succeeded"]
        [job, unreadable] = jobs.finished([large, broken])
        answers = [result.answers for result in jobs.results(large)]
        assert (job.state, job.rows_done, job.rows_failed) == ("succeeded", 5, 1)
        assert [value for part in answers for value in part.values] == ["no", "yes", None, "no", "no"]
        assert answers[0].problems[2].errors[0].feature == "floor area"
        assert (unreadable.state, (unreadable.problem or {})["type"]) == ("failed", "urn:problem-type:invalid-batch")
        problem = jobs.store.progress(small)[small[2]].problem or {}
        assert problem["errors"][0]["feature"] == "floor area"
        ids = [jobs.results(job_id)[0].answers.prediction_ids[0] for job_id in (small[0], small[1], small[3])]
        ids += [prediction_id for part in answers for prediction_id in part.prediction_ids if prediction_id]
        worker.terminate()
        assert worker.wait() == 0, worker.log.read_text()
    assert all(UUID(str(prediction_id)).version == 8 for prediction_id in ids)
    kept = [prediction_id for prediction_id, _ in recorded(project)]
    assert sorted(kept) == sorted({*kept})
    assert {*ids} <= {*kept}


def test_celery_keeps_the_states_of_tasks_where_it_is_told_to_and_jobs_do_not_need_them(
    project: Path, redis: Redis
) -> None:
    from redis import Redis as Client

    settings = variables("filesystem://var/messages", result_backend=redis.url)
    jobs = Jobs(project, settings)
    with working(project, settings) as [worker], Client.from_url(redis.url) as client:
        assert jobs.finished(jobs.submit([100]))[0].state == "succeeded"
        until(lambda: client.keys("celery-task-meta-*"))
        (key,) = client.keys("celery-task-meta-*")
        assert json.loads(client.get(key))["status"] == "SUCCESS"
        redis.close()
        more = jobs.finished(jobs.submit([100, 300]))
        assert [job.state for job in more] == ["succeeded", "succeeded"], worker.log.read_text()


@pytest.mark.slow
def test_two_workers_share_a_large_job_and_small_ones_pass_it(project: Path, rabbitmq: RabbitMQ) -> None:
    settings = variables(rabbitmq.url)
    jobs = Jobs(project, settings)
    with working(project, settings, count=2) as workers:
        jobs.finished(jobs.submit([100]))
        until(lambda: all(worker.children for worker in workers))
        large = jobs.submit_large([[SLOW]] * 24)
        [small] = jobs.finished(jobs.submit([100]))
        assert small.state == "succeeded"
        job = jobs.store.job(large)
        assert job is not None
        assert job.chunks_done < job.chunks, "the small job waited for the large one"
        assert jobs.finished([large])[0].state == "succeeded"
    assert len(jobs.workers(large)) == 2


@pytest.fixture
def rabbitmq_jobs(project: Path, rabbitmq: RabbitMQ) -> tuple[Jobs, dict[str, str]]:
    """Jobs on RabbitMQ, whose workers have little patience."""
    settings = variables(rabbitmq.url, max_attempts=2, timeout_seconds=3, shutdown_seconds=1)
    return Jobs(project, settings), settings


@pytest.mark.slow
def test_poison_and_endless_calls_end_as_dead_letters_and_hurt_nobody(
    project: Path, rabbitmq_jobs: tuple[Jobs, dict[str, str]]
) -> None:
    jobs, settings = rabbitmq_jobs
    with working(project, settings) as [worker]:
        together = jobs.submit([100, 101, DEADLY, 102])
        endless = jobs.submit([ENDLESS])
        others = jobs.submit([103, 104])
        assert {job.state for job in jobs.finished([*together[:2], together[3], *others])} == {"succeeded"}
        dead = jobs.finished([together[2], *endless])
        assert [job.state for job in dead] == ["failed", "failed"]
        assert {(job.problem or {})["type"] for job in dead} == {"urn:problem-type:job-gave-up"}
        assert {job.attempts for job in dead} == {2}
        until(lambda: jobs.queue.depth()["dead"] == 2)
        assert jobs.finished(jobs.submit([105]))[0].state == "succeeded", worker.log.read_text()
    assert (jobs.queue.take_dead(dead[0].job_id), jobs.queue.take_dead(dead[0].job_id)) == (1, 0)
    # What was only looked at is back in its place once RabbitMQ has seen the channel close.
    until(lambda: jobs.queue.depth() == {"small": 0, "bulk": 0, "dead": 1})


@pytest.mark.slow
def test_a_cancelled_chunk_stops_while_it_runs(project: Path, rabbitmq: RabbitMQ) -> None:
    settings = variables(rabbitmq.url, timeout_seconds=1000)
    jobs = Jobs(project, settings)
    with working(project, settings):
        [endless] = jobs.submit([ENDLESS])
        until(lambda: jobs.store.progress([endless])[endless].state == "running")
        cancelled = jobs.store.cancel(endless)
        assert cancelled is not None
        assert cancelled.state == "cancelled"
        # The only process of the only worker is free again.
        assert jobs.finished(jobs.submit([100]))[0].state == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("area", [SLOW, ENDLESS])
def test_a_worker_that_is_stopped_finishes_its_work_or_gives_it_back(
    project: Path, rabbitmq_jobs: tuple[Jobs, dict[str, str]], area: float
) -> None:
    jobs, settings = rabbitmq_jobs
    settings |= (
        {"SERVICE__JOBS__SHUTDOWN_SECONDS": "60"} if area == SLOW else {"SERVICE__JOBS__TIMEOUT_SECONDS": "1000"}
    )
    with working(project, settings) as [worker]:
        [job_id] = jobs.submit([area])
        until(lambda: jobs.store.progress([job_id])[job_id].state == "running")
        worker.terminate()
        assert worker.wait() == 0, worker.log.read_text()
        job = jobs.store.progress([job_id])[job_id]
    if area == SLOW:
        assert (job.state, job.attempts) == ("succeeded", 1)
    else:
        assert (job.state, job.attempts) == ("running", 0), "an attempt was counted"
        assert jobs.store.queued() == 1
        until(lambda: jobs.queue.depth()["small"] >= 1)


@pytest.mark.parametrize("which", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_idle_child_that_is_killed_holds_up_no_other(project: Path, which: int) -> None:
    settings = variables("filesystem://var/jobs/messages", concurrency=2)
    jobs = Jobs(project, settings)
    with working(project, settings) as [worker]:
        jobs.finished(jobs.submit([100]))
        until(lambda: worker.log.read_text().count("golden rows replayed") == 2)  # both wait for work
        os.kill(worker.children[which], signal.SIGKILL)
        assert [job.state for job in jobs.finished(jobs.submit([20, 30]))] == ["succeeded"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["rabbitmq", "folder"])
def test_what_is_killed_loses_and_doubles_nothing(project: Path, request: pytest.FixtureRequest, broker: str) -> None:
    server: RabbitMQ | None = request.getfixturevalue("rabbitmq") if broker == "rabbitmq" else None
    settings = variables(server.url if server else "filesystem://var/jobs/messages", concurrency=2, max_attempts=20)
    jobs = Jobs(project, settings)
    with working(project, settings) as [worker]:
        jobs.finished(jobs.submit([100]))
        ids = [job_id for start in range(20, 80, 20) for job_id in jobs.submit([*range(start, start + 20), SLOW])]
        large = jobs.submit_large([[SLOW, *range(20, 60)]] * 10)
        os.kill(worker.children[0], signal.SIGKILL)
        until(lambda: jobs.store.progress([large])[large].chunks_done > 1)
        if server is not None:
            server.kill()
            server.start()
        worker.kill()
        worker.start()
        assert {job.state for job in jobs.finished([*ids, large])} == {"succeeded"}
        worker.terminate()
        assert worker.wait() == 0, worker.log.read_text()
    kept = [prediction_id for prediction_id, _ in recorded(project)]
    answers = [result.answers for job_id in (*ids, large) for result in jobs.results(job_id)]
    told = [prediction_id for part in answers for prediction_id in part.prediction_ids]
    assert len(told) == len(ids) + 10 * 41
    assert len(kept) == len({*kept}) == len(told) + 1
    assert {*told} <= {*kept}
