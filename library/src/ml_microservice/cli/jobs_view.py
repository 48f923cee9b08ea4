"""What `ml-service jobs` shows in the terminal."""

import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ml_microservice.errors import BrokerError, DatabaseError
from ml_microservice.jobs.job import STATES, Activity, Job, QueueStatistics, RunningChunk
from ml_microservice.jobs.queue.job_queue import JobQueue
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.settings import Settings
from ml_microservice.terminal import out

RATE_SECONDS = 60
"""Over which rates are told."""
SHOWN = 20
"""Running chunks."""
STYLES = {"running": "cyan", "succeeded": "green", "failed": "bold red", "cancelled": "yellow"}


@dataclass(frozen=True)
class Look:
    """The queue at a moment."""

    time: datetime
    statistics: QueueStatistics
    activity: Activity
    running: list[RunningChunk]
    messages: dict[str, int] | str
    """By queue; or why the broker does not tell."""


def show_jobs(jobs: list[Job]) -> None:
    """List jobs."""
    table = Table("Job", "State", "Rows", "Done", "Failed rows", "Attempts", "Created", "Why")
    for job in jobs:
        counts = (f"{job.rows:,}", f"{job.rows_done:,}", f"{job.rows_failed:,}", str(job.attempts))
        why = (job.problem or {}).get("title", "")
        state = Text(job.state, STYLES.get(job.state, ""))
        table.add_row(job.job_id, state, *counts, job.created_at[:19].replace("T", " "), escape(why))
    wide = Console(width=None if out.is_terminal else 200)
    if jobs:
        wide.print(table)
    else:
        wide.print("There are none.")


def show_once(settings: Settings, store: JobStore) -> None:
    """Print how the queue is doing."""
    with _queue(settings) as queue:
        Console(width=None if out.is_terminal else 160).print(_drawn(settings, _look(store, queue)))


def watch(settings: Settings, store: JobStore, interval: float) -> None:
    """Show how the queue is doing, until Ctrl-C; a database that is away is waited for."""
    with _queue(settings) as queue, Live(console=out, screen=out.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                try:
                    live.update(_drawn(settings, _look(store, queue)), refresh=True)
                except DatabaseError as error:
                    live.update(Text(str(error), "bold red"), refresh=True)
                time.sleep(interval)
        except KeyboardInterrupt:
            pass


def _queue(settings: Settings) -> "closing[JobQueue] | nullcontext[None]":
    return closing(JobQueue(settings)) if settings.jobs.broker else nullcontext()


def _look(store: JobStore, queue: JobQueue | None) -> Look:
    messages: dict[str, int] | str
    try:
        messages = queue.depth() if queue else "jobs.broker is null"
    except BrokerError as error:
        messages = str(error)
    return Look(datetime.now(UTC), store.statistics(), store.activity(RATE_SECONDS), store.running(SHOWN), messages)


def _drawn(settings: Settings, look: Look) -> RenderableType:
    told, done = look.statistics, look.activity
    jobs = Table(*STATES, title=f"Jobs of {settings.name}, {look.time:%Y-%m-%d %H:%M:%S} UTC", title_justify="left")
    counts = ((state, told.jobs[state]) for state in STATES)
    jobs.add_row(*(Text(f"{count:,}", STYLES.get(state, "") if count else "") for state, count in counts))
    messages = look.messages
    if not isinstance(messages, str):
        messages = ", ".join(f"{count:,} {queue}" for queue, count in messages.items())
    lines = [
        f"chunks: {told.chunks_queued:,} wait, {told.chunks_running:,} run, {told.retries:,} attempts beyond the first",
        f"the oldest job waits for {_age(told.oldest_queued_seconds)}" if told.jobs["queued"] else "no job waits",
        f"last minute: {done.jobs:,} jobs, {done.rows:,} rows ({done.rows / done.seconds:,.1f}/s)",
        f"messages: {messages}",
    ]
    running = Table("Job", "Chunk", "Rows", "Worker", "Attempt", "For")
    for chunk in look.running:
        age = (look.time - datetime.fromisoformat(chunk.started_at)).total_seconds()
        numbers = (str(chunk.number), f"{chunk.rows:,}")
        attempt = Text(str(chunk.attempts), "yellow" if chunk.attempts > 1 else "")
        running.add_row(chunk.job_id, *numbers, escape(chunk.worker or ""), attempt, _age(age))
    shown: list[RenderableType] = [jobs, *lines]
    if look.running:
        shown.append(running)
    if told.chunks_running > len(look.running):
        shown.append(f"and {told.chunks_running - len(look.running):,} more")
    return Group(*(Text(one) if isinstance(one, str) else one for one in shown))


def _age(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
