"""The main process of `ml-service worker`: reads the model, forks the child processes, and hands messages to them.

It reads the model once, before it forks. It never calls the model, opens no journal and no connection to the database.
So every child that replaces a dead one is forked from a process as fresh as the first.

Two kinds of imports stand in functions: those of Celery, which is an optional dependency, and those of modules that
import prometheus_client, which must not be loaded before `shared_metrics` has set its folder.
"""

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.inference.served_model import ReadModel, read_configured_model
from ml_microservice.jobs.queue.celery_app import TASK, TRACES, celery_app
from ml_microservice.jobs.worker.watchdog import STOP_SECONDS, Shutdown
from ml_microservice.logs import configure_logging
from ml_microservice.processes.companion import Companion
from ml_microservice.processes.metrics import metrics_folder, shared_metrics
from ml_microservice.records.segment import prepare_folder
from ml_microservice.records.shipping_child import ShippingChild
from ml_microservice.settings import CONFIG_FILE, Settings
from ml_microservice.tracing.startup import require_tracing

if TYPE_CHECKING:
    from ml_microservice.jobs.worker.child_process import ChildProcess

logger = logging.getLogger(__name__)
EXIT_SECONDS = 3.0
"""Time to exit once all work is done or given back. Celery alone would wait forever for a child that died meanwhile."""


def run_worker(settings: Settings) -> None:
    """Run chunks of jobs until SIGTERM or SIGINT.

    Raises:
        ServiceError: there is no model, no broker or no Celery, or the model cannot be used.
    """
    configure_logging(settings.logging)
    # SIGTERM is a regular end, also while the model is read.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = celery_app(settings)
    require_tracing(settings)
    concurrency = settings.jobs.concurrency or len(os.sched_getaffinity(0))
    if concurrency > 1:
        # Each child keeps one core busy, and the threads of a library would not survive the fork.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with shared_metrics():
        model = read_configured_model(settings)
        if settings.records.sinks:
            prepare_folder(settings.records_directory)
        _serve_metrics(settings)
        companions = [Companion("sweeps jobs", ["sweep"], drain_seconds=2), ShippingChild(settings)]
        worker = Worker(settings, model, f"{settings.name}-{os.getpid()}@{socket.gethostname()}")
        worker.register(app)
        # Keep the pages with the model shared: the garbage collector would write to them.
        gc.freeze()
        for companion in companions:
            companion.start()
        try:
            worker.run(app, concurrency)
        finally:
            for companion in companions:
                companion.stop()
    if worker.shutdown.is_failed:
        raise ServiceError(Fault("no child process of the worker could start", advice="see the messages above"))


class Worker:
    """The task and the signal handlers of the Celery application, in the main process and in its children.

    Args:
        settings: the project's.
        model: the model.
        name: the worker's name.
    """

    def __init__(self, settings: Settings, model: ReadModel, name: str) -> None:
        self.shutdown = Shutdown()
        self._settings = settings
        self._model = model
        self._name = name
        self._child: ChildProcess | None = None
        """This process, if it is a child."""

    def register(self, app: Any) -> None:
        """Register the task, and the handlers for the start and end of processes."""
        from celery import signals

        def run(task: Any, refs: list[tuple[str, int]]) -> None:
            self._handle(task, refs)

        app.task(run, name=TASK, bind=True)
        for signal_, receiver in (
            (signals.setup_logging, self._set_up_logging),
            (signals.worker_process_init, self._start_child),
            (signals.worker_process_shutdown, self._close_child),
            (signals.worker_shutting_down, self._shut_down),
        ):
            signal_.connect(receiver, weak=False)

    def run(self, app: Any, concurrency: int) -> None:
        """Consume messages until the worker is stopped. If the broker is down, wait for it."""
        from ml_microservice.jobs.worker.pool import RobustTaskPool

        broker = self._settings.jobs.broker
        logger.info("worker %s: %d processes consume jobs from %s", self._name, concurrency, broker)
        celery_worker = app.Worker(
            hostname=self._name,
            concurrency=concurrency,
            pool=RobustTaskPool,
            optimization="fair",
            loglevel="WARNING",
            task_events=app.conf.worker_send_task_events,
            quiet=True,
        )
        celery_worker.start()

    def _handle(self, task: Any, refs: list[tuple[str, int]]) -> None:
        """Handle a message, in a child."""
        from celery.exceptions import Reject

        from ml_microservice.jobs.worker.message_handler import Outcome

        assert self._child is not None
        chunks = [(job_id, number) for job_id, number in refs]
        is_redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
        traces = task.request.get(TRACES) or {}
        outcome = self._child.messages.handle(chunks, redelivered=is_redelivered, traces=traces)
        if outcome is not Outcome.DONE:
            raise Reject(outcome.value, requeue=outcome is Outcome.RETURNED)

    def _set_up_logging(self, **_: Any) -> None:
        """Keep the logging of the service: Celery sets up none if this signal has a receiver."""

    def _start_child(self, **_: Any) -> None:
        """Start a child. If that fails, stop the worker: Celery alone would start children forever."""
        from ml_microservice.jobs.worker.child_process import ChildProcess

        try:
            self._child = ChildProcess(self._settings, self._model, f"{self._name}:{os.getpid()}", self.shutdown)
        except Exception as error:
            if isinstance(error, ServiceError):
                logger.error("%s", error)
            else:
                logger.exception("a child process of the worker could not start")
            self.shutdown.fail()
            self.shutdown.set_deadline(monotonic())
            os.kill(os.getppid(), signal.SIGTERM)

    def _close_child(self, **_: Any) -> None:
        if self._child is not None:
            self._child.close()

    def _shut_down(self, **_: Any) -> None:
        """Give running chunks time to finish. Celery's own soft shutdown would always use the whole time."""
        if not self.shutdown.is_requested:
            self.shutdown.set_deadline(monotonic() + self._settings.jobs.shutdown_seconds)
        seconds = self._settings.jobs.shutdown_seconds + STOP_SECONDS + EXIT_SECONDS
        timer = threading.Timer(seconds, _exit)
        timer.daemon = True
        timer.start()


def _exit() -> None:
    """Exit at once. Unfinished chunks are queued again, and the broker redelivers their messages."""
    logger.warning("the worker exits and leaves unfinished chunks to other workers")
    if (folder := metrics_folder()) is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _serve_metrics(settings: Settings) -> None:
    """Serve `/metrics`, if the settings have a port for it.

    Raises:
        ServiceError: the port is taken.
    """
    port = settings.jobs.metrics_port
    if port is None:
        return
    from ml_microservice.jobs.worker import metrics

    try:
        metrics.serve(settings.api.host, port)
    except OSError as error:
        message = f"cannot listen on {settings.api.host}:{port}: {error.strerror}"
        raise ServiceError(Fault(message, file=CONFIG_FILE, advice="choose another jobs.metrics_port")) from None
