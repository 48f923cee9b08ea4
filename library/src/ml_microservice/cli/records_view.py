"""The progress of shipping records on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_microservice.records.status import Status
from ml_microservice.terminal import out


def show_status(status: Status) -> None:
    """Print how far records are shipped to each sink."""
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
