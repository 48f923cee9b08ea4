"""The folder in which several processes keep the metrics that prometheus_client adds up."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when it is first imported, which is why this module does not import it."""


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Share the metrics of this process and its children, by a temporary folder.

    Enter it before anything imports prometheus_client.
    """
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        os.environ[_VARIABLE] = folder
        yield


def metrics_folder() -> Path | None:
    """The folder of shared metrics; None where this process keeps its metrics to itself."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None
