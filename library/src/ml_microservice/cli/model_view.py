"""Models on the terminal: their compiled form, and the progress of a prediction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ml_microservice.artefact.manifest import EngineRecord
from ml_microservice.inference.files.progress import RunProgress
from ml_microservice.terminal import err


@contextmanager
def row_progress() -> Iterator[Callable[[RunProgress], None]]:
    """Show progress, speed and remaining time of rows; yields the function to call with the progress."""
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


def show_engine(version: str, engine: EngineRecord) -> None:
    """Print how a model answers requests, which other engines were tried, and why they do not serve."""
    table = Table(box=None, pad_edge=False, caption="Times are in microseconds for a call.", caption_justify="left")
    table.add_column("Engine", no_wrap=True)
    for title in ("Verdict", "Difference", "Rows", "1 row", "64 rows"):
        table.add_column(title)
    reasons: dict[str, list[str]] = {}
    for one in engine.candidates:
        numbers = (one.largest_difference, one.rows, one.microseconds_1_row, one.microseconds_64_rows)
        shown = ("" if number is None else f"{number:,.2g}" if number < 1 else f"{number:,.0f}" for number in numbers)
        style = {"serves": "bold green", "slower": "", "refused": "dim", "unproved": "red"}[one.verdict]
        table.add_row(escape(one.name), one.verdict, *shown, style=style)
        reasons.setdefault(one.why, []).append(one.name)
    console = Console()
    console.print(f"Model {version} is served by: [bold]{escape(engine.serves)}[/]", highlight=False)
    console.print(table)
    for why, names in reasons.items():
        console.print(escape(f"{' and '.join(names)}: {why}"), highlight=False, soft_wrap=True)
