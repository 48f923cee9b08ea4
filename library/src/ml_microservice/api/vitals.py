"""State of a process: ready or not, and how busy. It is sampled, so that no request pays for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge

from ml_microservice.api.traffic import InWork
from ml_microservice.inference.core import Core
from ml_microservice.inference.problems import Problem

SAMPLE_SECONDS = 1.0
PEAK_SAMPLES = 15
"""Number of samples over which the peak is kept: about the interval at which Prometheus scrapes."""

# The parent of the workers exports these metrics, too, at 0, so none of them may be a minimum.
WORKERS = Gauge("service_workers", "Processes that answer requests.", multiprocess_mode="livesum")
READY = Gauge("service_workers_ready", "Those of them that answer predictions.", multiprocess_mode="livesum")
IN_WORK = Gauge(
    "requests_in_work", "Requests in work at the last second, of all processes.", multiprocess_mode="livesum"
)
PEAK = Gauge(
    "requests_in_work_peak",
    "Most requests that one process had in work at once, in the last 15 seconds.",
    multiprocess_mode="livemax",
)
LIMIT = Gauge("requests_in_work_limit", "Most requests that one process takes at once.", multiprocess_mode="livemax")


@asynccontextmanager
async def vital_signs(core: Core, in_work: InWork) -> AsyncIterator[None]:
    """Export the state of this process while the block runs."""
    WORKERS.set(1)
    LIMIT.set(in_work.limit)
    sampling = asyncio.create_task(_sample(core, in_work))
    try:
        yield
    finally:
        sampling.cancel()


async def _sample(core: Core, in_work: InWork) -> None:
    peaks: deque[int] = deque(maxlen=PEAK_SAMPLES)
    while True:
        peaks.append(in_work.take_peak())
        READY.set(_is_ready(core))
        IN_WORK.set(in_work.count)
        PEAK.set(max(peaks))
        await asyncio.sleep(SAMPLE_SECONDS)


def _is_ready(core: Core) -> bool:
    try:
        core.check()
    except Problem:
        return False
    return True
