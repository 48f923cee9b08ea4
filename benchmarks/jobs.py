"""Jobs: how fast they are taken and finished, by ours and by the service with Celery that tutorials build.

Everything that a system needs (the API, the worker's process, the broker, the database) shares the servers' core.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import backing
from benchmarks.environments import OURS, PLAIN, WORK, BenchError, Fitted
from benchmarks.job_load import Shape, Times, is_done, measure, measure_alone, submit
from benchmarks.load import Task
from benchmarks.process import free_ports, serving, started, wait_for
from benchmarks.systems import Launch, serve_ours, uvicorn

NAIVE = "naive_celery"
WORKERS = 1
"""Processes that predict, in each system: they share one core."""
FIRST_JOBS, MOST_JOBS = 200, 20_000
"""Jobs to warm up with, by whose rate it is decided how many are measured."""


@dataclass(frozen=True)
class JobSystem:
    """One way to do jobs."""

    name: str
    title: str
    environment: str
    needs: str
    """The system of the tables of servers with which it is measured."""
    shape: Shape
    broker: str = "rabbitmq"
    database: str = "sqlite"


OUR_SHAPE = Shape(
    submit_path="/jobs",
    id_of=lambda answer: str(answer["job_id"]),
    result_path=lambda job: f"/jobs/{job}/result",
    label_of=lambda answer: str(answer["prediction"]),
    later=(409,),
)
NAIVE_SHAPE = Shape(
    submit_path="/predict",
    id_of=lambda answer: str(answer["task_id"]),
    result_path=lambda task: f"/result/{task}",
    label_of=lambda answer: answer["result"] and str(answer["result"]["prediction"]),
)
JOB_SYSTEMS = (
    JobSystem("naive", "naive: FastAPI, Celery, pandas; RabbitMQ and Redis", NAIVE, "naive", NAIVE_SHAPE, "rabbitmq"),
    JobSystem("ours", "**ours**, RabbitMQ and SQLite", OURS, "ours", OUR_SHAPE),
    JobSystem("ours_postgresql", "**ours**, RabbitMQ and PostgreSQL", OURS, "ours", OUR_SHAPE, database="postgresql"),
    JobSystem("ours_laptop", "**ours**, folder and SQLite, no server", OURS, "ours", OUR_SHAPE, broker="folder"),
)


@dataclass
class JobRun:
    """One system with one model in one round."""

    round: int
    model: str
    system: str
    jobs: int = 0
    submitted_per_s: float | None = None
    finished_per_s: float | None = None
    alone_ms: float | None = None
    error: str | None = None

    def __str__(self) -> str:
        if self.error or self.finished_per_s is None:
            return self.error or "not measured"
        return f"{self.submitted_per_s:,.0f} submitted/s  {self.finished_per_s:,.0f} finished/s  {self.alone_ms:.0f} ms"


def measure_jobs(
    model: str, project: Path, fitted: Mapping[tuple[str, str], Fitted], names: Sequence[str], seconds: float, turn: int
) -> Iterator[JobRun]:
    """Visit each system once.

    Args:
        model: the model's name.
        project: with the model trained in it.
        fitted: the pipelines, by model and environment.
        names: the systems that were asked for.
        seconds: about as long as each is measured.
        turn: the round.
    """
    task = Task.read(WORK / model / PLAIN)
    for way in JOB_SYSTEMS:
        if way.needs not in names or (model, way.environment) not in fitted:
            continue
        one = JobRun(turn, model, way.name)
        try:
            times, one.alone_ms = _visit(way, model, project, fitted[model, way.environment], task, seconds)
            one.jobs, one.submitted_per_s = times.jobs, times.submitted_per_s
            one.finished_per_s = times.finished_per_s
        except (BenchError, OSError, ValueError, KeyError, EOFError) as error:
            one.error = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        yield one


def _visit(
    way: JobSystem, model: str, project: Path, fitted: Fitted, task: Task, seconds: float
) -> tuple[Times, float]:
    folder = WORK / model / "jobs" / way.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    launch = Launch(free_ports(), folder, project, fitted.pipeline, fitted.hooks, way.environment)
    bodies = [json.dumps(row, separators=(",", ":")).encode() for row in task.rows]
    with ExitStack() as stack:
        variables = _backing(way, folder, stack)
        port = stack.enter_context(_running(way, launch, variables, bodies[0]))
        warm = measure(port, way.shape, bodies, task.answers, FIRST_JOBS)
        # What is loaded and compiled at the first jobs weighs on the rate of the first.
        warm = measure(port, way.shape, bodies, task.answers, FIRST_JOBS)
        alone = measure_alone(port, way.shape, bodies, task.answers)
        count = min(MOST_JOBS, max(FIRST_JOBS, round(warm.finished_per_s * seconds)))
        return measure(port, way.shape, bodies, task.answers, count), alone


def _backing(way: JobSystem, folder: Path, stack: ExitStack) -> dict[str, str]:
    """Start what a system stands on; the variables that tell it."""
    broker = stack.enter_context(backing.rabbitmq(folder / "rabbitmq")) if way.broker == "rabbitmq" else None
    if way.environment == NAIVE:
        results = stack.enter_context(backing.redis(folder / "redis"))
        return {"BENCH_BROKER": str(broker).replace("guest@", "guest:guest@"), "BENCH_RESULTS": results}
    variables = {"SERVICE__JOBS__CONCURRENCY": str(WORKERS)}
    if broker:
        variables |= {"SERVICE__JOBS__BROKER": broker, "SERVICE__JOBS__BROKER_PASSWORD": "guest"}
    if way.database == "postgresql":
        variables["SERVICE__DATABASE__URL"] = stack.enter_context(backing.postgresql())
    return variables


@contextmanager
def _running(way: JobSystem, launch: Launch, variables: dict[str, str], first: bytes) -> Iterator[int]:
    """The API and the worker; the API's port."""
    is_ours = way.environment == OURS
    env = {**launch.variables(engine=is_ours), **variables}
    if is_ours:
        shutil.rmtree(launch.project / "var", ignore_errors=True)  # jobs and records of an earlier visit
        serve = serve_ours(launch)
        work = [str(launch.bin / "python"), "-c", "from ml_microservice.cli import main; main()", "worker"]
    else:
        serve = uvicorn("naive_celery")(launch)
        options = ["--concurrency", str(WORKERS), "--loglevel", "warning"]
        work = [str(launch.bin / "celery"), "-A", "naive_celery:queue", "worker", *options]
    cwd = launch.project if is_ours else launch.folder
    target = {"port": launch.port, "path": "/predict", "body": first}
    with (
        serving(serve, **target, cwd=cwd, env=env, log=launch.folder / "api.txt"),  # type: ignore[arg-type]
        started(work, cwd=cwd, env=env, log=launch.folder / "worker.txt") as worker,
    ):
        job = submit(launch.port, way.shape, first)
        wait_for(worker, lambda: is_done(launch.port, way.shape, job), launch.folder / "worker.txt")
        yield launch.port
