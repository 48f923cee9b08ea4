"""Executors of the parts of a run: this process, several on this machine, or a Dask cluster; the result is the same."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import Literal, TypeVar

from ml_microservice.errors import ExecutorError, Fault
from ml_microservice.inference.cluster import dask_client
from ml_microservice.inference.files.places import Place

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2
"""Parts queued for each process; a longer queue would only cut parts earlier."""


@dataclass(frozen=True)
class ExecutorConfig:
    """Which executor a run uses."""

    name: Literal["local", "dask"] = "local"
    workers: int | None = None
    """Processes on this machine; one for each available core by default."""
    scheduler: str | None = None
    """Address of a Dask scheduler; by default a cluster is started on this machine."""

    @property
    def processes(self) -> int:
        """The number of processes on this machine."""
        return self.workers or len(os.sched_getaffinity(0))


def execute(
    config: ExecutorConfig, work: Callable[[Item], Result], items: Iterable[Item], count: int, places: Sequence[Place]
) -> Iterator[tuple[Item, Result]]:
    """Do work on every item, and yield each with its result in order of completion.

    Args:
        config: the executor.
        work: the function to call; other processes import it.
        items: its arguments, taken only as needed.
        count: about how many items there are.
        places: what the work reads and writes.

    Raises:
        ExecutorError: the processes died, or there is no such cluster.
    """
    is_shared = all(place.is_shared for place in places)
    if config.name == "dask":
        if not is_shared:
            raise ExecutorError(Fault("memory:// is seen by one process only", advice="leave out --engine dask"))
        # A worker may be lost and its work done again, which writes the same files.
        with (
            dask_client(config.scheduler, config.processes) as client,
            client.get_executor(pure=False, retries=2) as executor,
        ):
            yield from _submitted(executor, work, items, AHEAD * max(1, sum(client.nthreads().values())))
    elif is_shared and (processes := min(config.processes, count)) > 1:
        with _processes(processes) as executor:
            yield from _submitted(executor, work, items, AHEAD * processes)
    else:
        for item in items:
            yield item, work(item)


def _submitted(
    executor: Executor, work: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[tuple[Item, Result]]:
    waiting: dict[Future[Result], Item] = {}
    try:
        for item in items:
            waiting[executor.submit(work, item)] = item
            if len(waiting) >= limit:
                yield from _completed(waiting)
        while waiting:
            yield from _completed(waiting)
    except BrokenExecutor:
        advice = "was it the memory? With --workers 1 it needs the least; what is done is not done again"
        raise ExecutorError(Fault("a process that predicts has died", advice=advice)) from None
    finally:
        for future in waiting:
            future.cancel()


def _completed(waiting: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    # One thread for each process, as each has a core; libraries read the variable when the processes import them.
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), initializer=_end_with_parent) as executor:
            yield executor
    finally:
        if given is None:
            del os.environ["OMP_NUM_THREADS"]


def _end_with_parent() -> None:
    """End this process once its parent is gone, even if killed; it would wait for work forever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
