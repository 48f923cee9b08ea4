"""The commands `ml-service jobs ...`; each is thin over the room of jobs."""

import sys
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import orjson
import typer

from ml_microservice.cli.app import dead_app, jobs_app
from ml_microservice.errors import BrokerError, Fault, ServiceError
from ml_microservice.jobs.job import ChunkRef, Job
from ml_microservice.settings import load_settings

if TYPE_CHECKING:
    from ml_microservice.jobs.store.job_store import JobStore

PAGE = 500


class State(StrEnum):
    """The states of a job."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


JobId = Annotated[str, typer.Argument(help="The id in the answer of `POST /jobs`.", metavar="ID")]
MaybeJobId = Annotated[str | None, typer.Argument(help="The id of one job.", metavar="[ID]")]
All = Annotated[bool, typer.Option("--all", help="All failed jobs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@jobs_app.command("list")
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only jobs of this state.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of the latest to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from ml_microservice.jobs.store.job_store import open_job_store

    with closing(open_job_store(load_settings())) as store:
        _print_jobs(store.jobs(state.value if state else None, None, count), as_json)


@jobs_app.command()
def show(job_id: JobId) -> None:
    """Print a job from the database as JSON."""
    from ml_microservice.jobs.store.job_store import open_job_store

    wanted = _id(job_id)
    with closing(open_job_store(load_settings())) as store:
        job = store.job(wanted)
    if job is None:
        raise _unknown(wanted)
    _print_json(job)


@jobs_app.command()
def cancel(job_id: JobId) -> None:
    """Cancel a job: waiting chunks are never run, and running ones are stopped."""
    from ml_microservice.jobs.store.job_store import open_job_store
    from ml_microservice.terminal import out

    wanted = _id(job_id)
    with closing(open_job_store(load_settings())) as store:
        job = store.cancel(wanted)
    if job is None:
        raise _unknown(wanted)
    if job.state != "cancelled":
        raise ServiceError(Fault(f"the job {wanted} has {job.state} already"))
    out.print(f"Cancelled, with {job.rows_done:,} of {job.rows:,} rows done", highlight=False)


@jobs_app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print the state once, for scripts.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two updates.")] = 2,
) -> None:
    """Watch the queue: jobs by state, waiting times, running chunks and throughput."""
    from ml_microservice.cli.jobs_view import show_once, watch
    from ml_microservice.jobs.store.job_store import open_job_store

    settings = load_settings()
    with closing(open_job_store(settings)) as store:
        if once:
            show_once(settings, store)
        else:
            watch(settings, store, interval)


@dead_app.command("list")
def list_dead(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of the latest to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs that have failed, newest first."""
    list_jobs(State.failed, count, as_json)


@dead_app.command()
def retry(job_id: MaybeJobId = None, every: All = False) -> None:
    """Run the unfinished chunks of failed jobs again, with a full number of attempts."""
    from ml_microservice.jobs.queue.job_queue import JobQueue
    from ml_microservice.jobs.store.job_store import open_job_store
    from ml_microservice.terminal import err, out

    settings = load_settings()
    with closing(open_job_store(settings)) as store, closing(JobQueue(settings)) as queue:
        away: BrokerError | None = None
        retried = 0
        for some in _chosen(store, job_id, every):
            small: list[ChunkRef] = []
            bulk: list[ChunkRef] = []
            for job in some:
                refs = store.retry(job.job_id)
                (bulk if job.chunks > 1 else small).extend(refs)
            retried += len(some)
            try:
                queue.take_dead(*(job.job_id for job in some))
                queue.publish([[ref] for ref in small], bulk)
            except BrokerError as error:
                store.unpublished([*small, *bulk])
                away = error
    out.print(f"Queued {_counted(retried)} again", highlight=False)
    if away is not None:
        note = f"note {away}: the jobs are sent to the workers once it is back"
        err.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)


@dead_app.command()
def drop(job_id: MaybeJobId = None, every: All = False) -> None:
    """Delete failed jobs, with their bodies and partial results."""
    from ml_microservice.jobs.queue.job_queue import JobQueue
    from ml_microservice.jobs.storage import JobStorage
    from ml_microservice.jobs.store.job_store import open_job_store
    from ml_microservice.terminal import out

    settings = load_settings()
    storage = JobStorage(settings)
    with closing(open_job_store(settings)) as store, closing(JobQueue(settings)) as queue:
        dropped = 0
        for some in _chosen(store, job_id, every):
            # The messages first: once a job is gone, nothing would look for its messages.
            queue.take_dead(*(job.job_id for job in some))
            for job in some:
                store.drop(job.job_id)
                storage.remove(job.job_id)
            dropped += len(some)
    out.print(f"Deleted {_counted(dropped)}", highlight=False)


def _chosen(store: "JobStore", job_id: str | None, every: bool) -> Iterator[list[Job]]:
    """The named job, or all failed jobs, a page at a time."""
    if every == (job_id is not None):
        raise ServiceError(Fault("which job?", advice="say either its id or --all"))
    if job_id is not None:
        job = store.job(_id(job_id))
        if job is None:
            raise _unknown(job_id)
        yield [job]
        return
    before: tuple[str, str] | None = None
    while page := store.jobs("failed", before, PAGE):
        yield page
        before = (page[-1].created_at, page[-1].job_id)


def _counted(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs:,} jobs"


def _print_jobs(jobs: list[Job], as_json: bool) -> None:
    from ml_microservice.cli.jobs_view import show_jobs

    if as_json:
        _print_json(jobs)
    else:
        show_jobs(jobs)


def _print_json(printed: Job | list[Job]) -> None:
    sys.stdout.write(orjson.dumps(printed, option=orjson.OPT_INDENT_2).decode() + "\n")


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ServiceError(Fault(f"{text!r} is no UUID", advice="`ml-service jobs list` shows the ids")) from None


def _unknown(job_id: str) -> ServiceError:
    advice = "`ml-service jobs list` shows those that there are; finished ones are deleted after jobs.result_days"
    return ServiceError(Fault(f"there is no job {job_id}", advice=advice))
