"""The backend of joblib, on which scikit-learn and other libraries run the hooks' parallel work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import parallel_config

from ml_microservice.inference.cluster import dask_client
from ml_microservice.settings import TrainingSettings


@contextmanager
def training_backend(settings: TrainingSettings) -> Iterator[None]:
    """Run joblib's parallel work on a Dask cluster if `training.engine` is `dask`, and on this machine otherwise.

    Raises:
        ExecutorError: Dask is not installed, or no scheduler answers.
    """
    if settings.engine == "local":
        yield
        return
    with dask_client(settings.scheduler, os.cpu_count() or 1), parallel_config(backend="dask"):
        yield
