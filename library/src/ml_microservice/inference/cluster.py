"""A Dask cluster: one that the user has, or one that is started on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ml_microservice.errors import ExecutorError, Fault
from ml_microservice.extras import how_to_install


@contextmanager
def dask_client(scheduler: str | None, processes: int) -> Iterator[Any]:
    """A client of a cluster.

    Args:
        scheduler: its address; None starts a cluster here, which ends with the context.
        processes: number of single-threaded processes of a cluster started here.

    Raises:
        ExecutorError: Dask is not installed, or no scheduler answers.
    """
    try:
        import distributed
    except ImportError:
        raise ExecutorError(Fault("this needs Dask", advice=how_to_install("dask"))) from None
    dask: Any = distributed  # whose functions have no types
    started: Any = None
    try:
        if scheduler is None:
            started = dask.LocalCluster(processes, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
        client = dask.Client(scheduler or started)
    except (OSError, ValueError) as error:
        message = f"no Dask scheduler answers: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise ExecutorError(Fault(message, scheduler, advice="see that it runs: dask scheduler")) from None
    try:
        with client:
            yield client
    finally:
        if started is not None:
            started.close()
