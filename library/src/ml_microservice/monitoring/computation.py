"""What takes long to compute from records: in a process of its own, kept in a file that every worker reads.

A worker that computed it itself would answer no request meanwhile, and would have pandas and scikit-learn in its
memory. So a worker starts `python -m ml_microservice.monitoring.computation`, at low priority; that process writes its
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
"""How far the process steps back behind predictions."""
KEPT_SECONDS = 24 * 3600
"""Age at which results that nobody has asked for again are deleted."""
LOCK = "computing.lock"
MOST_WAITING = 8
"""Results that may be waited for at once: each holds a request in work, of which predictions need some."""
RETRY_SECONDS = 30
"""After a failure, before it is tried again: a process that fails costs as much as one that does not."""


class NotComputed(Exception):
    """The process that computes has failed; the log has what it said."""


class TooManyComputations(Exception):
    """Others are waited for already."""


@dataclass(frozen=True)
class Computation:
    """Something to compute, in words that another process understands."""

    name: str
    """Names the file."""
    function: str
    """`module:function`; called with the settings and the arguments, and returns what JSON can hold."""
    arguments: Mapping[str, str | float | None] = field(default_factory=dict)

    def file(self, settings: Settings) -> Path:
        """Where the result is kept."""
        content = orjson.dumps([self.function, dict(self.arguments)], option=orjson.OPT_SORT_KEYS)
        return settings.monitoring_directory / f"{self.name}-{sha256(content).hexdigest()[:16]}.json"


class Computed(NamedTuple):
    """What was computed, and when."""

    result: dict[str, Any]
    at: datetime

    @property
    def age(self) -> float:
        """In seconds."""
        return (datetime.now(UTC) - self.at).total_seconds()


def latest(settings: Settings, computation: Computation) -> Computed | None:
    """What was computed last, however old; None if nothing was."""
    try:
        document = orjson.loads(computation.file(settings).read_bytes())
        return Computed(document["result"], datetime.fromisoformat(document["at"]))
    except (FileNotFoundError, orjson.JSONDecodeError):  # none yet, or one that a power loss has halved
        return None


def fresh(settings: Settings, computation: Computation) -> Computed | None:
    """What was computed within the last `monitoring.refresh_seconds`."""
    known = latest(settings, computation)
    return known if known is not None and 0 <= known.age < settings.monitoring.refresh_seconds else None


class ComputationRunner:
    """Has things computed for one worker process: one at a time, and none twice.

    Of several workers, each may have a process waiting, but only one of these computes at any time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: dict[Path, asyncio.Task[Computed]] = {}
        self._failed: dict[Path, float] = {}
        """When results could not be computed, as far as that is no longer ago than `RETRY_SECONDS`."""
        self._one_at_a_time = asyncio.Lock()

    async def computed(self, computation: Computation) -> Computed:
        """A result that is fresh: known, or computed now.

        Raises:
            NotComputed: it could not be, now or a moment ago.
            TooManyComputations: others are to be computed first.
        """
        known = fresh(self._settings, computation)
        if known is not None:
            return known
        # Shielded: who hangs up does not take the result from others who wait for it.
        return await asyncio.shield(self._begun(computation))

    def begin(self, computation: Computation) -> None:
        """Compute in the background, unless that is being done already, or would hardly succeed."""
        with suppress(NotComputed, TooManyComputations):
            self._begun(computation)

    def _begun(self, computation: Computation) -> "asyncio.Task[Computed]":
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
        """End what is still being computed."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, file: Path, done: "asyncio.Task[Computed]") -> None:
        self._tasks.pop(file, None)
        # The exception is looked at, since nobody else may wait for it; it is in the log already.
        if not done.cancelled() and done.exception() is not None:
            self._failed[file] = monotonic()

    async def _compute(self, computation: Computation) -> Computed:
        async with self._one_at_a_time:
            complaint = await _in_another_process(self._settings, computation)
        known = latest(self._settings, computation)
        if complaint is not None or known is None:
            logger.error("%s could not be computed: %s", computation.name, complaint)
            raise NotComputed(computation.name)
        return known


async def _in_another_process(settings: Settings, computation: Computation) -> str | None:
    """Compute; returns what the process complained of, if it failed."""
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
        _, said = await asyncio.wait_for(process.communicate(request), TIMEOUT_SECONDS)
    except TimeoutError:
        return f"it took longer than {TIMEOUT_SECONDS} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return None if process.returncode == 0 else said.decode(errors="replace").strip() or f"exit {process.returncode}"


def main() -> None:
    """Compute what standard input says, unless another process has done so meanwhile."""
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
