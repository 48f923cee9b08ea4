"""`ml-service worker`: a process that takes messages, and others forked from it that run chunks.

The model is read once, before the fork; the main process never calls it, opens no journal and asks no database, so that
each child that replaces another is forked from as fresh a process as the first.
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
from ml_microservice.jobs.queue.job_queue import TASK, TRACES, celery_app
from ml_microservice.jobs.worker.watchdog import BACK_SECONDS, Shutdown
from ml_microservice.logs import configure_logging
from ml_microservice.processes.companion import Companion
from ml_microservice.processes.metrics import metrics_folder, shared_metrics
from ml_microservice.records.segment import prepare_folder
from ml_microservice.records.shipping_child import ShippingChild
from ml_microservice.settings import CONFIG_FILE, Settings
from ml_microservice.tracing.startup import require_tracing

if TYPE_CHECKING:
    from ml_microservice.inference.served_model import ReadModel
    from ml_microservice.jobs.worker.child_process import Process

logger = logging.getLogger(__name__)
LAST_SECONDS = 3.0
"""Time to end once all work is done or left; Celery would wait for ever for a process that died meanwhile."""


def run_worker(settings: Settings) -> None:
    """Run chunks of jobs until SIGTERM or SIGINT.

    Raises:
        ServiceError: there is no model, no broker or no Celery, or the model cannot be used.
    """
    configure_logging(settings.logging)
    # A stop that was asked for is no failure, also while the model is being read.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = celery_app(settings)
    require_tracing(settings)
    concurrency = settings.jobs.concurrency or len(os.sched_getaffinity(0))
    if concurrency > 1:
        # Each process has a core's worth to do, and threads that a library made would not survive the fork.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with shared_metrics():
        model = _read_model(settings)
        if settings.records.sinks:
            prepare_folder(settings.records_directory)
        _serve_metrics(settings)
        companions = [Companion("sweeps jobs", ["sweep"], drain_seconds=2), ShippingChild(settings)]
        work = Work(settings, model, f"{settings.name}-{os.getpid()}@{socket.gethostname()}")
        work.add_to(app)
        # The collector's marks would make private copies of shared pages.
        gc.freeze()
        for companion in companions:
            companion.start()
        try:
            work.run(app, concurrency)
        finally:
            for companion in companions:
                companion.stop()
    if work.ending.is_failed:
        raise ServiceError(Fault("no process of the worker could begin", advice="see what it printed above"))


class Work:
    """What Celery is told to do, in the main process and, once forked, in the others.

    Args:
        settings: of the project.
        model: that answers.
        name: of the worker.
    """

    def __init__(self, settings: Settings, model: "ReadModel", name: str) -> None:
        self.ending = Shutdown()
        self._settings = settings
        self._model = model
        self._name = name
        self._process: Process | None = None
        """This process, where it is a child."""

    def add_to(self, app: Any) -> None:
        """Give Celery the task, and be told when processes begin and end."""
        from celery import signals

        def run(task: Any, refs: list[tuple[str, int]]) -> None:
            self._take(task, refs)

        app.task(run, name=TASK, bind=True)
        for signal_, receiver in (
            (signals.setup_logging, self._set_up_logging),
            (signals.worker_process_init, self._begin),
            (signals.worker_process_shutdown, self._end),
            (signals.worker_shutting_down, self._shut_down),
        ):
            signal_.connect(receiver, weak=False)

    def run(self, app: Any, concurrency: int) -> None:
        """Take messages until told to end; a broker that is away is waited for."""
        logger.info("worker %s: %d processes take jobs from %s", self._name, concurrency, self._settings.jobs.broker)
        celery_worker = app.Worker(
            hostname=self._name,
            concurrency=concurrency,
            pool="prefork",
            optimization="fair",
            loglevel="WARNING",
            task_events=app.conf.worker_send_task_events,
            quiet=True,
        )
        celery_worker.start()

    def _take(self, task: Any, refs: list[tuple[str, int]]) -> None:
        """The task: a message, in a child."""
        from celery.exceptions import Reject

        from ml_microservice.jobs.worker.message_handler import Outcome

        assert self._process is not None
        chunks = [(job_id, number) for job_id, number in refs]
        is_redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
        traces = task.request.get(TRACES) or {}
        outcome = self._process.deliveries.take(chunks, redelivered=is_redelivered, traces=traces)
        if outcome is not Outcome.DONE:
            raise Reject(outcome.value, requeue=outcome is Outcome.RETURNED)

    def _set_up_logging(self, **_: Any) -> None:
        """Log as the service does; Celery then leaves logging alone."""

    def _begin(self, **_: Any) -> None:
        """Begin a child; Celery would go on without what cannot begin, and for ever."""
        from ml_microservice.jobs.worker.child_process import Process

        try:
            self._process = Process(self._settings, self._model, f"{self._name}:{os.getpid()}", self.ending)
        except Exception as error:
            if isinstance(error, ServiceError):
                logger.error("%s", error)
            else:
                logger.exception("a process of the worker could not begin")
            self.ending.fail()
            self.ending.set(monotonic())
            os.kill(os.getppid(), signal.SIGTERM)

    def _end(self, **_: Any) -> None:
        if self._process is not None:
            self._process.close()

    def _shut_down(self, **_: Any) -> None:
        """Let what is at work finish, for a while; Celery's own soft shutdown would always take the whole time."""
        if self.ending.at is None:
            self.ending.set(monotonic() + self._settings.jobs.shutdown_seconds)
        last = threading.Timer(self._settings.jobs.shutdown_seconds + BACK_SECONDS + LAST_SECONDS, _give_up)
        last.daemon = True
        last.start()


def _give_up() -> None:
    """End as it stands: what is not done is in the queue again, and the broker returns the messages."""
    logger.warning("the worker leaves work to others")
    if (folder := metrics_folder()) is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _read_model(settings: Settings) -> "ReadModel":
    from ml_microservice.inference.served_model import read_configured_model

    return read_configured_model(settings)


def _serve_metrics(settings: Settings) -> None:
    """Answer `/metrics`, if that is wanted.

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
