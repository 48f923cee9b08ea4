"""Jobs and their queue on the terminal."""

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
"""Time over which rates are computed."""
SHOWN = 20
"""Most running chunks that are listed."""
STYLES = {"running": "cyan", "succeeded": "green", "failed": "bold red", "cancelled": "yellow"}


@dataclass(frozen=True)
class QueueState:
    """The state of the queue at one moment."""

    time: datetime
    statistics: QueueStatistics
    activity: Activity
    running: list[RunningChunk]
    messages: dict[str, int] | str
    """Number of messages by queue, or why the broker does not say it."""


def show_jobs(jobs: list[Job]) -> None:
    """Print a table of jobs."""
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
    """Print the state of the queue."""
    with _queue(settings) as queue:
        Console(width=None if out.is_terminal else 160).print(_drawn(settings, _queue_state(store, queue)))


def watch(settings: Settings, store: JobStore, interval: float) -> None:
    """Show the state of the queue until Ctrl-C; if the database is down, wait until it is back."""
    with _queue(settings) as queue, Live(console=out, screen=out.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                try:
                    live.update(_drawn(settings, _queue_state(store, queue)), refresh=True)
                except DatabaseError as error:
                    live.update(Text(str(error), "bold red"), refresh=True)
                time.sleep(interval)
        except KeyboardInterrupt:
            pass


def _queue(settings: Settings) -> "closing[JobQueue] | nullcontext[None]":
    return closing(JobQueue(settings)) if settings.jobs.broker else nullcontext()


def _queue_state(store: JobStore, queue: JobQueue | None) -> QueueState:
    messages: dict[str, int] | str
    try:
        messages = queue.depth() if queue else "jobs.broker is null"
    except BrokerError as error:
        messages = str(error)
    return QueueState(
        datetime.now(UTC), store.statistics(), store.activity(RATE_SECONDS), store.running(SHOWN), messages
    )


def _drawn(settings: Settings, state: QueueState) -> RenderableType:
    totals, done = state.statistics, state.activity
    jobs = Table(*STATES, title=f"Jobs of {settings.name}, {state.time:%Y-%m-%d %H:%M:%S} UTC", title_justify="left")
    counts = ((name, totals.jobs[name]) for name in STATES)
    jobs.add_row(*(Text(f"{count:,}", STYLES.get(name, "") if count else "") for name, count in counts))
    messages = state.messages
    if not isinstance(messages, str):
        messages = ", ".join(f"{count:,} {queue}" for queue, count in messages.items())
    lines = [
        f"chunks: {totals.chunks_queued:,} wait, {totals.chunks_running:,} run, "
        f"{totals.retries:,} attempts beyond the first",
        f"the oldest job waits for {_age(totals.oldest_queued_seconds)}" if totals.jobs["queued"] else "no job waits",
        f"last minute: {done.jobs:,} jobs, {done.rows:,} rows ({done.rows / done.seconds:,.1f}/s)",
        f"messages: {messages}",
    ]
    running = Table("Job", "Chunk", "Rows", "Worker", "Attempt", "For")
    for chunk in state.running:
        age = (state.time - datetime.fromisoformat(chunk.started_at)).total_seconds()
        numbers = (str(chunk.number), f"{chunk.rows:,}")
        attempt = Text(str(chunk.attempts), "yellow" if chunk.attempts > 1 else "")
        running.add_row(chunk.job_id, *numbers, escape(chunk.worker or ""), attempt, _age(age))
    shown: list[RenderableType] = [jobs, *lines]
    if state.running:
        shown.append(running)
    if totals.chunks_running > len(state.running):
        shown.append(f"and {totals.chunks_running - len(state.running):,} more")
    return Group(*(Text(one) if isinstance(one, str) else one for one in shown))


def _age(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
