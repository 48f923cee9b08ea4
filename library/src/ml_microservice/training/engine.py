"""What the hooks' own parallel work runs on, where their libraries use joblib, as scikit-learn does."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import parallel_config

from ml_microservice.inference.cluster import dask_client
from ml_microservice.settings import TrainingSettings


@contextmanager
def training_engine(settings: TrainingSettings) -> Iterator[None]:
    """Spread what joblib runs in parallel over a Dask cluster, if the settings say so.

    Raises:
        EngineError: Dask is not installed, or no scheduler answers.
    """
    if settings.engine == "local":
        yield
        return
    with dask_client(settings.scheduler, os.cpu_count() or 1), parallel_config(backend="dask"):
        yield
