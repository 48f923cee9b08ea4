"""Several worker processes behind one socket: the model is read once, and memory that does not change stays shared.

The parent reads the model, forks the workers and then only watches them. It answers no request and never calls the
model, so a replacement is forked from a process as fresh as the first worker's.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.logs import configure_logging
from ml_microservice.processes.companion import LOOK_SECONDS, Companion
from ml_microservice.settings import Settings, load_settings

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FAILED_STARTS = 5
"""Number of workers in a row that may be killed before they answer; then another one would not help."""
GRACE_SECONDS = 5
"""Time to exit, in addition to the time that open requests have."""


@dataclass(frozen=True)
class Service:
    """What the workers run, given by the room that serves.

    All three are functions or classes of modules, because a spawned worker imports them.
    """

    serve: Callable[[Settings, socket.socket, Any, Callable[[], None]], None]
    """Serves until SIGTERM; takes the settings, the socket, the model (None: it is read), and a function to call once
    requests are answered."""
    read_model: Callable[[Settings], Any]
    """Reads and verifies the model without calling it, so that a process may fork afterwards."""
    companion: Callable[[Settings], Companion]
    """Makes the command that runs beside the workers."""


@dataclass(frozen=True)
class Work:
    """What a worker process is started with."""

    service: Service
    settings: Settings
    listening: socket.socket
    model: Any
    """Shared with the parent; None where each worker reads its own."""

    def run(self, report: Connection) -> None:
        """Serve, in the worker's process; sends None to `report` once it answers, or the faults that prevent it."""
        for number in SIGNALS:
            # Until it serves, there is nothing to finish: an exception would end up in whatever is being imported.
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else lambda *_: os._exit(0))
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        configure_logging(self.settings.logging)
        try:
            self.service.serve(self.settings, self.listening, self.model, lambda: self._started(report))
        except ServiceError as error:
            report.send(error.faults)
            sys.exit(1)

    def _started(self, report: Connection) -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(parent.sentinel)
            signal.raise_signal(signal.SIGTERM)

        # A worker that outlives a killed parent would keep its port.
        loop.add_reader(parent.sentinel, end)
        report.send(None)


class Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, work: Work) -> None:
        # Forked, it shares the parent's memory; spawned, it is a new interpreter.
        context = multiprocessing.get_context("fork" if work.model else "spawn")
        self.report, sending = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=work.run, args=(sending,))  # type: ignore[attr-defined]
        self.is_started = False
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            sending.close()

    @property
    def events(self) -> list[Connection | int]:
        """What to wait for: its end, and its report while it starts."""
        return [self.process.sentinel] if self.is_started else [self.process.sentinel, self.report]

    def is_alive(self) -> bool:
        """Whether it is running; also reads what it has reported.

        Raises:
            ServiceError: it cannot serve, and neither could another one.
        """
        if not self.is_started and self.report.poll():
            try:
                faults = self.report.recv()
            except EOFError:
                faults = []
            if faults:
                raise ServiceError(*faults)
            self.is_started = faults is None
        return self.process.is_alive()

    def stop(self) -> None:
        """Ask it to finish its requests and end."""
        if self.process.is_alive():
            self.process.terminate()

    def join(self, seconds: float) -> None:
        """Wait until it ends, and kill it after `seconds`."""
        self.process.join(seconds)
        if self.process.is_alive():
            logger.error("worker %s did not end in time and is killed", self.process.pid)
            self.process.kill()
            self.process.join()
        self.report.close()


class Workers:
    """Keeps worker processes serving; SIGHUP replaces them with workers that have the current settings and model."""

    def __init__(self, service: Service, settings: Settings, listening: socket.socket) -> None:
        self._service = service
        self._listening = listening
        self._work = self._read(settings)
        self._companion = service.companion(settings)
        self._workers: list[Worker] = []
        self._asked: list[int] = []
        self._failed_starts = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            ServiceError: the workers cannot start.
        """
        with self._signals() as woken:
            try:
                self._workers = [Worker(self._work) for _ in range(self._work.settings.api.workers)]
                while not self._is_stopping():
                    wait([woken, *(event for worker in self._workers for event in worker.events)], LOOK_SECONDS)
                    _empty(woken)
                    if signal.SIGHUP in self._asked:
                        self._asked.remove(signal.SIGHUP)
                        self._renew(woken)
                    self._workers = [
                        worker if worker.is_alive() else self._replacement(worker) for worker in self._workers
                    ]
                    if all(worker.is_started for worker in self._workers):
                        self._companion.look()
            finally:
                self._end()

    def _read(self, settings: Settings) -> Work:
        model = None
        if settings.api.preload:
            model = self._service.read_model(settings)
            # The marks of the garbage collector would turn shared pages into private copies.
            gc.freeze()
        return Work(self._service, settings, self._listening, model)

    def _replacement(self, dead: Worker) -> Worker:
        code = dead.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._failed_starts = 0 if dead.is_started else self._failed_starts + 1
        if self._failed_starts == FAILED_STARTS or (code > 0 and not dead.is_started):
            message = f"a worker process {how} before it could serve"
            raise ServiceError(Fault(message, advice="see what it printed above; is there enough memory?"))
        logger.warning("worker %s %s; another one is started", dead.process.pid, how)
        dead.join(0)
        return Worker(self._work)

    def _renew(self, woken: int) -> None:
        """Replace the workers one by one, each only once its successor answers; if one fails, the others stay."""
        before = self._work
        try:
            self._work = self._read(load_settings())
            for place, old in enumerate(self._workers):
                new = Worker(self._work)
                while new.is_alive() and not new.is_started and not self._is_stopping():
                    wait([woken, *new.events])
                    _empty(woken)
                if not new.is_started:
                    new.stop()
                    new.join(GRACE_SECONDS)
                    raise ServiceError(Fault("the new worker did not start"))
                self._workers[place] = new
                old.stop()
                old.join(before.settings.api.shutdown_seconds + GRACE_SECONDS)
            if self._work.settings != before.settings:
                self._companion.stop()
                self._companion = self._service.companion(self._work.settings)
        except ServiceError as error:
            self._work = before
            logger.error("the workers stay as they are: %s", error)

    def _is_stopping(self) -> bool:
        return signal.SIGTERM in self._asked or signal.SIGINT in self._asked

    def _end(self) -> None:
        # The port stays open until the last worker closes its copy: requests that arrive until then are answered.
        self._listening.close()
        for worker in self._workers:
            worker.stop()
        deadline = monotonic() + self._work.settings.api.shutdown_seconds + GRACE_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - monotonic()))
        self._companion.stop()

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Record incoming signals; yields a descriptor that becomes readable with each."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, lambda number, _: self._asked.append(number)) for number in SIGNALS}
        signal.set_wakeup_fd(writing)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reading)
            os.close(writing)


def _empty(woken: int) -> None:
    try:
        while os.read(woken, 1024):
            pass
    except BlockingIOError:
        pass
