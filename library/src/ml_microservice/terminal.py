"""What commands print. Apart from the commands, because a service that starts need not wait for it to be imported."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ml_microservice.artefact.manifest import EngineRecord
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.gate.documents import Champion, Comparison, Verdict
from ml_microservice.inference.files.progress import RunProgress
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.monitoring.drift.verdict import farthest_words, title, verdict
from ml_microservice.monitoring.performance_result import Performance
from ml_microservice.records.status import Status

out, err = Console(), Console(stderr=True)


@contextmanager
def stages(count: int) -> Iterator[Callable[[str], None]]:
    """Show the progress of work that comes in stages; yields what to call with the name of each."""
    columns = (SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=not err.is_terminal) as progress:
        task = progress.add_task("", total=count, completed=-1)
        yield lambda stage: progress.update(task, advance=1, description=stage)
        progress.update(task, completed=count, description="done")


@contextmanager
def row_progress() -> Iterator[Callable[[RunProgress], None]]:
    """Show how far rows are done, how fast, and how long it will take; yields what to call with the progress."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, speed_estimate_period=60) as progress:
        task = progress.add_task("", total=None, rows=0, rate=0.0)
        began = perf_counter()

        def show(now: RunProgress) -> None:
            rate = now.rows / max(perf_counter() - began, 1e-9)
            progress.update(task, total=now.total, completed=now.units, rows=now.rows, rate=rate)

        yield show


def show_faults(faults: Sequence[Fault]) -> None:
    """Say what is wrong, where, and how to mend it."""
    for fault in faults:
        place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
        err.print(f"[bold red]error[/] {place}" if place else "[bold red]error[/]", soft_wrap=True, highlight=False)
        err.print(f"  {fault.message}", markup=False, soft_wrap=True, highlight=False)
        if fault.advice:
            err.print(f"  -> {fault.advice}", markup=False, soft_wrap=True, highlight=False)


@contextmanager
def faults_shown() -> Iterator[None]:
    """Show the faults of a `ServiceError` to people, and exit with 1."""
    try:
        yield
    except ServiceError as error:
        show_faults(error.faults)
        sys.exit(1)


def show_drift(report: DriftReport, min_rows: int) -> None:
    """Say what has changed since training, the farthest off first."""
    style = {"drift": "bold red", "passing": "yellow", "stable": "green", "too_few_rows": "yellow"}
    window = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    out.print(
        f"{report.rows:,} of {report.recorded:,} predictions, {window}, model {report.model_version}", highlight=False
    )
    table = Table("", "Status", "Farthest off", "Found")
    for drift in report.drifts if report.status != "too_few_rows" else ():
        status = Text("ignored" if drift.ignored else drift.status, style[drift.status])
        table.add_row(escape(title(drift)), status, farthest_words(drift), escape(drift.sentence))
    for name, why in report.not_compared.items():
        table.add_row(escape(name), "not compared", "", why, style="dim")
    if table.rows:
        out.print(table)
    out.print(Text(verdict(report, min_rows), style[report.status]))


def show_engine(version: str, engine: EngineRecord) -> None:
    """Say how a model answers requests, and what else was tried."""
    table = Table("Engine", "Verdict", "Largest difference", "Rows", "us, 1 row", "us, 64 rows", "Why")
    for one in engine.candidates:
        numbers = (one.largest_difference, one.rows, one.microseconds_1_row, one.microseconds_64_rows)
        shown = ("" if number is None else f"{number:,.2g}" if number < 1 else f"{number:,.0f}" for number in numbers)
        style = {"serves": "bold green", "slower": "", "refused": "dim", "unproved": "red"}[one.verdict]
        table.add_row(escape(one.name), one.verdict, *shown, escape(one.why), style=style)
    Console().print(f"Model {version} is served by: [bold]{escape(engine.serves)}[/]", highlight=False)
    Console().print(table)


def show_comparison(comparison: Comparison) -> None:
    """Say how the current model and the champion did on the same rows."""
    model, champion = comparison.candidate.model, comparison.champion
    out.print(f"[bold]{model.version}[/] on {comparison.rows:,} held-out rows", highlight=False)
    table = Table("Metric", "Better is", "Model", "Champion")
    for name, value in comparison.candidate.metrics.items():
        values = ("undefined" if number is None else f"{number:.4g}" for number in (value, champion.metrics.get(name)))
        mine, theirs = values
        table.add_row(name, comparison.directions[name], mine, theirs if champion.status == "compared" else "")
    out.print(table)
    _show_champion(champion)


def show_verdict(verdict: Verdict) -> None:
    """Say what was asked of a model, and what it gave."""
    table = Table("Check", "Found", "Asked for", "Passed", box=None)
    for check in verdict.checks:
        found, asked = ("" if number is None else f"{number:.4g}" for number in (check.value, check.limit))
        sign = {"greater": ">= ", "smaller": "<= ", None: ""}[check.direction]
        style = "green" if check.passed else "bold red"
        table.add_row(check.name, found or "undefined", sign + asked, "yes" if check.passed else "NO", style=style)
    if verdict.checks:
        out.print(table)
    else:
        out.print("Nothing was asked: config.yaml has no thresholds, and there is no comparison.", soft_wrap=True)
    _show_champion(verdict.champion)
    if verdict.passed:
        out.print(f"[bold green]Passed:[/] {verdict.candidate.version} may go on", highlight=False)
        return
    faults = [Fault(check.sentence) for check in verdict.checks if not check.passed]
    show_faults([Fault(f"{verdict.candidate.version} may not go on"), *faults])


def _show_champion(champion: Champion) -> None:
    name = f" {champion.model.version}" if champion.model else ""
    style = {"compared": "", "absent": "dim", "not comparable": "yellow"}[champion.status]
    out.print(Text(f"Champion{name}: {champion.status}. {champion.why}", style), soft_wrap=True)
    for note in champion.notes:
        out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)


def show_status(status: Status) -> None:
    """Say how far records are shipped."""
    table = Table("Sink", "Records behind", "Oldest, s", "Bytes behind", "Shipped", "Dead letters", "State")
    for sink in status.sinks:
        counts = (f"{sink.lag_records:,}", f"{sink.lag_seconds:,.1f}", f"{sink.lag_bytes:,}", f"{sink.shipped:,}")
        state = f"does not take records since {sink.failure.since}: {sink.failure.message}" if sink.failure else "ok"
        table.add_row(sink.sink, *counts, f"{sink.dead_letters:,}", escape(state), style="red" if sink.failure else "")
    wide = Console(width=None if out.is_terminal else 200)
    wide.print(table)
    wide.print("A process ships them." if status.is_shipping else "[bold]No process ships them.[/]")
    wide.print(f"{status.segments} segments, {status.waiting_bytes:,} bytes", highlight=False)
    if status.quarantined or status.torn_bytes:
        wide.print(f"{status.quarantined:,} unreadable lines in quarantine, {status.torn_bytes:,} torn bytes left out")
    for name in status.foreign_segments:
        wide.print(f"[bold red]left alone[/] {escape(name)}: of another format or project", highlight=False)


def show_performance(performance: Performance) -> None:
    """Say how right each model version is in service."""
    out.print(f"Predictions from {performance.since} to {performance.until}", highlight=False)
    if not performance.models:
        out.print("There are none.")
    for model in performance.models:
        counts = f"{model.predictions:,} predictions, {model.with_feedback:,} with feedback ({model.coverage:.1%})"
        out.print(f"\n[bold]{escape(model.model_version)}[/]: {counts}", highlight=False)
        table = Table("Metric", "In service", "In training")
        for name, value in model.metrics.items():
            trained = (model.training_metrics or {}).get(name)
            table.add_row(name, *("undefined" if number is None else f"{number:.4g}" for number in (value, trained)))
        if model.metrics:
            out.print(table)
        if model.calibration:
            table = Table("Probability given", "Predictions", "Mean", "Right")
            for row in model.calibration:
                shares = (f"{row.confidence:.3f}", f"{row.right:.3f}")
                table.add_row(f"{row.low:.1f} to {row.high:.1f}", f"{row.rows:,}", *shares)
            out.print(table)
        if model.feedback_delay_seconds is not None:
            delay = model.feedback_delay_seconds
            words = f"half of it within {delay.median:,.0f} s, nine tenths within {delay.p90:,.0f} s"
            out.print(f"Feedback came: {words}", highlight=False)
        for note in model.notes:
            out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
