"""Computes results from records in a separate process, and caches them in files that all workers read.

A worker that computed them itself would block its requests and load pandas and scikit-learn into its memory. Instead, a
worker starts `python -m ml_microservice.monitoring.computation`, at low priority; that process writes its
result into `monitoring.directory`, and all workers answer from there for `monitoring.refresh_seconds`.
"""

import asyncio
import fcntl
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import orjson

import ml_microservice
from ml_microservice.errors import ServiceError
from ml_microservice.logs import configure_logging
from ml_microservice.settings import Settings, load_settings

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 600
NICENESS = 10
"""Niceness of the process, so that predictions have priority."""
KEPT_SECONDS = 24 * 3600
"""Age at which a result file is deleted. Results that are requested again are rewritten before."""
LOCK = "computing.lock"
MOST_WAITING = 8
"""Most computations in progress in a worker. Each keeps a request open, and the number of open requests is limited."""
RETRY_SECONDS = 30
"""Wait before a failed computation is started again."""


class NotComputed(Exception):
    """The computation failed. The log has the output of its process."""


class TooManyComputations(Exception):
    """`MOST_WAITING` computations are in progress already."""


@dataclass(frozen=True)
class Computation:
    """A function call that another process can make."""

    name: str
    """Start of the result file's name."""
    function: str
    """`module:function`. It is called with the settings and the arguments, and returns a JSON document."""
    arguments: Mapping[str, str | float | None] = field(default_factory=dict)

    def file(self, settings: Settings) -> Path:
        """The file that caches the result."""
        content = orjson.dumps([self.function, dict(self.arguments)], option=orjson.OPT_SORT_KEYS)
        return settings.monitoring_directory / f"{self.name}-{sha256(content).hexdigest()[:16]}.json"


class Computed(NamedTuple):
    """A result and the time at which it was computed."""

    result: dict[str, Any]
    at: datetime

    @property
    def age(self) -> float:
        """Age of the result in seconds."""
        return (datetime.now(UTC) - self.at).total_seconds()


def latest(settings: Settings, computation: Computation) -> Computed | None:
    """The cached result, however old; None if there is none."""
    try:
        document = orjson.loads(computation.file(settings).read_bytes())
        return Computed(document["result"], datetime.fromisoformat(document["at"]))
    except (FileNotFoundError, orjson.JSONDecodeError):  # nothing computed yet, or a file torn by a power loss
        return None


def fresh(settings: Settings, computation: Computation) -> Computed | None:
    """The cached result, if it is younger than `monitoring.refresh_seconds`."""
    known = latest(settings, computation)
    return known if known is not None and 0 <= known.age < settings.monitoring.refresh_seconds else None


class ComputationRunner:
    """Runs computations for one worker process, one at a time. Equal computations share a run.

    Each worker may start a process, but a lock lets only one of these processes compute at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: dict[Path, asyncio.Task[Computed]] = {}
        self._failed: dict[Path, float] = {}
        """Times of failures within the last `RETRY_SECONDS`, by result file."""
        self._one_at_a_time = asyncio.Lock()

    async def computed(self, computation: Computation) -> Computed:
        """A fresh result, from the cache or computed now.

        Raises:
            NotComputed: the computation failed, now or within the last `RETRY_SECONDS`.
            TooManyComputations: too many other computations are in progress.
        """
        known = fresh(self._settings, computation)
        if known is not None:
            return known
        # Shielded, because a caller that disconnects must not cancel a computation that others wait for.
        return await asyncio.shield(self._task(computation))

    def begin(self, computation: Computation) -> None:
        """Start a computation in the background, unless it is in progress, has just failed, or there are too many."""
        with suppress(NotComputed, TooManyComputations):
            self._task(computation)

    def _task(self, computation: Computation) -> "asyncio.Task[Computed]":
        file = computation.file(self._settings)
        task = self._tasks.get(file)
        if task is None:
            now = monotonic()
            self._failed = {each: at for each, at in self._failed.items() if now - at < RETRY_SECONDS}
            if file in self._failed:
                raise NotComputed(computation.name)
            if len(self._tasks) >= MOST_WAITING:
                raise TooManyComputations
            task = self._tasks[file] = asyncio.get_running_loop().create_task(self._compute(computation))
            task.add_done_callback(lambda done: self._forget(file, done))
        return task

    async def close(self) -> None:
        """Cancel computations that are in progress."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, file: Path, done: "asyncio.Task[Computed]") -> None:
        self._tasks.pop(file, None)
        # Retrieve the exception, which is logged already, so that asyncio does not warn about it.
        if not done.cancelled() and done.exception() is not None:
            self._failed[file] = monotonic()

    async def _compute(self, computation: Computation) -> Computed:
        async with self._one_at_a_time:
            fault = await _in_another_process(self._settings, computation)
        known = latest(self._settings, computation)
        if fault is not None or known is None:
            logger.error("%s could not be computed: %s", computation.name, fault)
            raise NotComputed(computation.name)
        return known


async def _in_another_process(settings: Settings, computation: Computation) -> str | None:
    """Compute in a child process; returns its error output if it failed."""
    source = str(Path(ml_microservice.__file__).parents[1])
    paths = os.pathsep.join(path for path in (source, os.environ.get("PYTHONPATH")) if path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ml_microservice.monitoring.computation"),
        cwd=settings.root,
        env={**os.environ, "PYTHONPATH": paths, "SERVICE_ROOT": str(settings.root)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    request = orjson.dumps([computation.name, computation.function, dict(computation.arguments)])
    try:
        _, stderr = await asyncio.wait_for(process.communicate(request), TIMEOUT_SECONDS)
    except TimeoutError:
        return f"it took longer than {TIMEOUT_SECONDS} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return None if process.returncode == 0 else stderr.decode(errors="replace").strip() or f"exit {process.returncode}"


def main() -> None:
    """Compute what standard input asks for, unless another process has done so in the meantime."""
    computation = Computation(*orjson.loads(sys.stdin.buffer.read()))
    os.nice(NICENESS)
    try:
        settings = load_settings()
        configure_logging(settings.logging)
        _compute_once(settings, computation)
    except ServiceError as error:
        sys.exit(str(error))


def _compute_once(settings: Settings, computation: Computation) -> None:
    folder = settings.monitoring_directory
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fresh(settings, computation) is not None:
            return
        module, _, function = computation.function.partition(":")
        at = datetime.now(UTC)
        result = getattr(import_module(module), function)(settings, **computation.arguments)
        document = {"name": computation.name, "at": at.isoformat(), "result": result}
        file = computation.file(settings)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
        temporary.replace(file)
        _delete_old(folder, at.timestamp())


def _delete_old(folder: Path, now: float) -> None:
    for path in (*folder.glob("*.json"), *folder.glob("*.tmp")):
        with suppress(FileNotFoundError):
            if now - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()


if __name__ == "__main__":
    main()
