"""What does the work: this process, several on this machine, or a Dask cluster; the result is the same."""

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
"""Parts that wait for each process; more would only be cut earlier."""


@dataclass(frozen=True)
class Engine:
    """What does the work."""

    name: Literal["local", "dask"] = "local"
    workers: int | None = None
    """Processes on this machine; by default, one for each core that may be used."""
    scheduler: str | None = None
    """Address of a Dask scheduler; by default, a cluster on this machine is started."""

    @property
    def processes(self) -> int:
        """On this machine."""
        return self.workers or len(os.sched_getaffinity(0))


def spread(
    engine: Engine, work: Callable[[Item], Result], items: Iterable[Item], count: int, places: Sequence[Place]
) -> Iterator[tuple[Item, Result]]:
    """Do all work, in no certain order.

    Args:
        engine: what does it.
        work: what to do; other processes import it.
        items: what to do it with, taken only as needed.
        count: about how many of them there are.
        places: what the work reads and writes.

    Raises:
        ExecutorError: the processes died, or there is no such cluster.
    """
    is_shared = all(place.is_shared for place in places)
    if engine.name == "dask":
        if not is_shared:
            raise ExecutorError(Fault("memory:// is seen by one process only", advice="leave out --engine dask"))
        # Work that is done twice because a worker was lost writes the same files again.
        with (
            dask_client(engine.scheduler, engine.processes) as client,
            client.get_executor(pure=False, retries=2) as executor,
        ):
            yield from _submitted(executor, work, items, AHEAD * max(1, sum(client.nthreads().values())))
    elif is_shared and (processes := min(engine.processes, count)) > 1:
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
    # One thread each, as there is a process for each core; read by libraries when the processes import them.
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), initializer=_end_with_parent) as executor:
            yield executor
    finally:
        if given is None:
            del os.environ["OMP_NUM_THREADS"]


def _end_with_parent() -> None:
    """Leave when the process that gives the work is gone, killed even: it would be waited for without end."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
