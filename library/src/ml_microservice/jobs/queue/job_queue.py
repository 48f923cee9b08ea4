"""The queue between services and workers: Celery on RabbitMQ, Redis or a folder.

A message names chunks, and the traces that they belong to. Whether there is anything to do for it says their rows, so
one that comes twice is harmless, and one that is lost is sent again by the sweeper.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from ml_microservice.errors import BrokerError, ConfigError, Fault
from ml_microservice.extras import how_to_install
from ml_microservice.jobs.job import ChunkRef
from ml_microservice.settings import CONFIG_FILE, Settings

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection, Queue

TASK = "ml_microservice.jobs.run"
TRACES = "traces"
"""The header of messages with the `traceparent` of jobs, by their ids."""
CONNECT_SECONDS, ANSWER_SECONDS = 2, 5
"""That a broker may take when something is published."""
AWAY_SECONDS = 1.0
"""For so long after a failure the broker counts as away, so that not everybody waits to find out."""
POLL_SECONDS = 0.02
"""Between two looks into a folder that carries messages, and whether a process is free for another."""
DELIVERY_LIMIT = 100
"""Of RabbitMQ, far beyond the attempts that are counted in the rows: for messages that do not get as far as that."""
NO_LIMIT = 1_000_000_000
HARD_LIMIT_SECONDS = 30
"""Time beyond that of a chunk, after which Celery ends a process that did not end itself."""
START_SECONDS = 300
"""Time to load and replay a model in each process of a worker."""

Result = TypeVar("Result")


def celery_app(settings: Settings) -> "Celery":
    """Celery, set up for the broker of the settings.

    Raises:
        ConfigError: there is no broker, or what it needs is not installed.
        BrokerError: the folder for messages cannot be made.
    """
    url, options = _broker(settings)
    try:
        from celery import Celery
    except ModuleNotFoundError:
        raise _missing("Jobs need Celery", "jobs") from None

    jobs = settings.jobs
    is_folder, is_rabbitmq = url.startswith("filesystem"), url.startswith("amqp")
    app = Celery(settings.name, set_as_current=False)
    app.conf.update(
        broker_url=url,
        broker_transport="ml_microservice.jobs.queue.folder_transport.Transport" if is_folder else None,
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=jobs.result_backend,
        task_ignore_result=jobs.result_backend is None,
        accept_content=["json"],
        task_queues=[_queue(name, is_rabbitmq, settings) for name in work_queues(settings)],
        task_default_queue=work_queues(settings)[0],
        task_default_queue_type="quorum" if is_rabbitmq else "classic",
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=False,
        task_time_limit=jobs.timeout_seconds + HARD_LIMIT_SECONDS,
        task_send_sent_event=not is_folder,
        worker_send_task_events=not is_folder,
        worker_enable_remote_control=not is_folder,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=START_SECONDS,
        worker_consumer="ml_microservice.jobs.queue.consumer:Consumer",
    )
    return app


def work_queues(settings: Settings) -> tuple[str, str]:
    """The queues of small jobs and of the chunks of large ones, which so do not block the small ones."""
    return f"{settings.name}.jobs", f"{settings.name}.jobs.bulk"


def dead_queue(settings: Settings) -> str:
    """Where RabbitMQ puts the messages of chunks that were given up."""
    return f"{settings.name}.jobs.dead"


class JobQueue:
    """Sends messages; safe to use by several threads, of one process.

    Args:
        settings: of the project.

    Raises:
        ConfigError: there is no broker, or what it needs is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        # Who sends a message asks for no result: with a backend, Celery would listen there for one.
        self._app.conf.result_backend = None
        self._small, self._bulk = work_queues(settings)
        self._dead = dead_queue(settings)
        self._is_rabbitmq = str(settings.jobs.broker).startswith("amqp")
        self._dead_letters = _dead_letters(settings) if self._is_rabbitmq else None
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._producer: Any = None
        self._away_until = 0.0

    def publish(
        self,
        small: Sequence[Sequence[ChunkRef]],
        bulk: Sequence[ChunkRef],
        traces: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Send messages; once this returns, the broker has them for good.

        Args:
            small: chunks of small jobs, those of each message.
            bulk: chunks of large jobs, one for each message.
            traces: `traceparent` of jobs whose submissions are traced.

        Raises:
            BrokerError: it has not taken all of them within some seconds. Nothing is lost: the sweeper sends them.
        """
        messages = [(self._small, refs) for refs in small] + [(self._bulk, [ref]) for ref in bulk]

        def send(connection: "Connection") -> None:
            for queue, refs in messages:
                job_id, number = refs[0]
                of_these = {ref[0]: traces[ref[0]] for ref in refs if ref[0] in traces}
                more = f" and {len(refs) - 1} more" if len(refs) > 1 else ""
                self._app.send_task(
                    TASK,
                    [[[*ref] for ref in refs]],
                    queue=queue,
                    producer=self._producer,
                    retry=False,
                    argsrepr=f"{job_id}/{number}{more}",
                    confirm_timeout=ANSWER_SECONDS,
                    headers={TRACES: of_these} if of_these else None,
                )

        if messages:
            self._ask(send)

    def depth(self) -> dict[str, int]:
        """Messages that wait: `small`, `bulk` and `dead`.

        Raises:
            BrokerError: the broker does not answer.
        """
        names = {"small": self._small, "bulk": self._bulk, "dead": self._dead}
        return self._ask(lambda connection: {role: self._count(connection, name) for role, name in names.items()})

    def take_dead(self, *job_ids: str) -> int:
        """Take the messages of jobs out of the queue of dead letters, and tell how many there were.

        Raises:
            BrokerError: the broker does not answer.
        """
        if self._dead_letters is None:
            return 0
        dead, wanted = self._dead_letters, set(job_ids)

        def take(connection: "Connection") -> int:
            taken = 0
            count = self._count(connection, self._dead)
            # What is not acknowledged is back in its place once the channel is closed.
            with connection.channel() as channel:
                for _ in range(count):
                    message = dead(channel).get(accept=["json"])
                    if message is None:
                        break
                    if any(ref[0] in wanted for ref in message.payload[0][0]):
                        message.ack()
                        taken += 1
            return taken

        return self._ask(take)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._disconnect()

    def _ask(self, call: "Callable[[Connection], Result]") -> Result:
        """What a call on the connection gives; on one that may have been lost meanwhile, it is tried twice.

        Raises:
            BrokerError: the broker does not answer in time.
        """
        with self._held():
            is_fresh = self._connection is None
            try:
                try:
                    return call(self._connected())
                except self._errors():
                    self._disconnect()
                    if is_fresh:
                        raise
                    return call(self._connected())
            except self._errors() as error:
                self._disconnect()
                self._away_until = monotonic() + AWAY_SECONDS
                raise BrokerError(Fault(f"the broker of jobs failed: {_reason(error)}")) from error

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The connection to oneself.

        Raises:
            BrokerError: it failed a moment ago, or others wait for it already.
        """
        if not self._lock.acquire(timeout=CONNECT_SECONDS + ANSWER_SECONDS):
            raise BrokerError(Fault("the broker of jobs does not answer"))
        try:
            if monotonic() < self._away_until:
                raise BrokerError(Fault("the broker of jobs failed a moment ago"))
            yield
        finally:
            self._lock.release()

    def _connected(self) -> "Connection":
        if self._connection is None:
            limits: dict[str, float] = {}
            if self._is_rabbitmq:
                limits = {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}
            elif str(self._app.conf.broker_url).startswith("redis"):
                limits = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": CONNECT_SECONDS}
            # Without heartbeats, for which nobody would be there between two messages.
            self._connection = self._app.connection_for_write(
                connect_timeout=CONNECT_SECONDS, heartbeat=0, transport_options=limits
            )
            self._connection.ensure_connection(max_retries=1, interval_start=0.1)
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
            if self._dead_letters is not None:
                self._dead_letters(self._connection.default_channel).declare()
        return self._connection

    def _count(self, connection: "Connection", queue: str) -> int:
        with connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
            except connection.channel_errors:  # there is no such queue yet
                return 0

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            # Closing it in good manners would mean to wait for a broker that does not answer.
            with suppress(*self._errors(connection)):
                connection.collect(socket_timeout=CONNECT_SECONDS)

    def _errors(self, connection: "Connection | None" = None) -> tuple[type[Exception], ...]:
        """What a broker that is away, or refuses, shows itself by."""
        from amqp.exceptions import AMQPError, MessageNacked
        from kombu.exceptions import KombuError

        known = connection or self._connection
        own = () if known is None else (*known.connection_errors, *known.channel_errors)
        return (OSError, KombuError, AMQPError, MessageNacked, *own)


def _broker(settings: Settings) -> tuple[str, dict[str, Any]]:
    """The URL of the broker with its password, and the options of Kombu's transport.

    Raises:
        ConfigError: there is none, or what it needs is not installed.
        BrokerError: the folder for messages cannot be made.
    """
    jobs = settings.jobs
    if jobs.broker is None:
        advice = "set amqp://user@host:5672/vhost, redis://host:6379/0 or filesystem://var/jobs/messages"
        raise ConfigError(Fault("jobs.broker is null: this service has no jobs", file=CONFIG_FILE, advice=advice))
    parts = urlsplit(jobs.broker)
    if parts.scheme == "filesystem":
        folder = settings.root / jobs.broker.removeprefix("filesystem://")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder for messages cannot be made: {error.strerror}"
            raise BrokerError(Fault(message, file=CONFIG_FILE, advice="set another jobs.broker")) from None
        place = os.fspath(folder)
        folders = {"data_folder_in": place, "data_folder_out": place, "control_folder": os.path.join(place, "control")}
        options = {**folders, "polling_interval": POLL_SECONDS}
        return "filesystem://localhost", options
    if parts.scheme.startswith("redis"):
        try:
            import redis  # noqa: F401
        except ModuleNotFoundError:
            raise _missing("Redis as the broker of jobs needs its client", "redis") from None
    url = jobs.broker
    if jobs.broker_password is not None:
        user, _, host = parts.netloc.rpartition("@")
        password = quote(jobs.broker_password.get_secret_value(), safe="")
        url = urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
    return url, {"confirm_publish": True} if parts.scheme.startswith("amqp") else {}


def _queue(name: str, is_rabbitmq: bool, settings: Settings) -> "Queue":
    from kombu import Exchange, Queue

    arguments = None
    if is_rabbitmq:
        arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": dead_queue(settings),
            "x-dead-letter-routing-key": dead_queue(settings),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    # By the default exchange, which knows every queue by its name.
    return Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments)


def _dead_letters(settings: Settings) -> "Queue":
    from kombu import Exchange, Queue

    name = dead_queue(settings)
    # Looking through it counts as deliveries, too.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}
    return Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments)


def _missing(what: str, extra: str) -> ConfigError:
    message = f"{what}, which is not installed"
    return ConfigError(Fault(message, file=CONFIG_FILE, advice=how_to_install(extra)))


def _reason(error: Exception) -> str:
    words = str(error).strip() or str(error.__cause__ or "").strip() or type(error).__name__
    return words.splitlines()[0]
