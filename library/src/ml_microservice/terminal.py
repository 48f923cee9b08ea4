"""Output of commands: to stdout and stderr, with faults as people read them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ml_microservice.errors import Fault, ServiceError

out, err = Console(), Console(stderr=True)


@contextmanager
def stages(count: int) -> Iterator[Callable[[str], None]]:
    """Show the progress of a number of stages; yields the function to call with the name of each as it begins."""
    columns = (SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=not err.is_terminal) as progress:
        task = progress.add_task("", total=count, completed=-1)
        yield lambda stage: progress.update(task, advance=1, description=stage)
        progress.update(task, completed=count, description="done")


def show_faults(faults: Sequence[Fault]) -> None:
    """Print what is wrong, where, and how to fix it."""
    for fault in faults:
        place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
        err.print(f"[bold red]error[/] {place}" if place else "[bold red]error[/]", soft_wrap=True, highlight=False)
        err.print(f"  {fault.message}", markup=False, soft_wrap=True, highlight=False)
        if fault.advice:
            err.print(f"  -> {fault.advice}", markup=False, soft_wrap=True, highlight=False)


@contextmanager
def faults_shown() -> Iterator[None]:
    """Print the faults of a `ServiceError`, and exit with 1."""
    try:
        yield
    except ServiceError as error:
        show_faults(error.faults)
        sys.exit(1)
