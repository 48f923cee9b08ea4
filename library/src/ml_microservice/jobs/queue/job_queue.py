"""Sends the messages of jobs to the workers, and looks into the broker's queues.

A message names chunks, and the traces that they belong to. Its delivery is at least once: the chunks' rows in the
database say whether there is work to do, so a duplicate is harmless, and the sweeper sends a lost message again.

Celery's libraries are imported in functions, because they are optional dependencies.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from ml_microservice.errors import BrokerError, Fault
from ml_microservice.jobs.job import ChunkRef
from ml_microservice.jobs.queue.celery_app import TASK, TRACES, celery_app, dead_letter_queue, dead_queue, work_queues
from ml_microservice.settings import Settings

if TYPE_CHECKING:
    from kombu import Connection

MESSAGE_CHUNKS = 64
"""Most small jobs in one message. They share a call of the model."""
CONNECT_SECONDS, ANSWER_SECONDS = 2, 5
"""Timeouts of the broker when a message is sent."""
DOWN_SECONDS = 1.0
"""After a failure the broker counts as down for so long, so that not every caller runs into the timeout."""

Result = TypeVar("Result")


def shared_messages(small: Sequence[ChunkRef]) -> list[Sequence[ChunkRef]]:
    """Group the chunks of small jobs into messages."""
    return [small[start : start + MESSAGE_CHUNKS] for start in range(0, len(small), MESSAGE_CHUNKS)]


class JobQueue:
    """Sends messages. Threads may share it, processes may not.

    Args:
        settings: the project's.

    Raises:
        ConfigError: the settings have no broker, or an optional dependency is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        # The sender needs no results. With a backend, Celery would wait there for them.
        self._app.conf.result_backend = None
        self._small, self._bulk = work_queues(settings)
        self._dead = dead_queue(settings)
        self._is_rabbitmq = str(settings.jobs.broker).startswith("amqp")
        self._dead_letters = dead_letter_queue(settings) if self._is_rabbitmq else None
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._producer: Any = None
        self._down_until = 0.0

    def publish(
        self,
        small: Sequence[Sequence[ChunkRef]],
        bulk: Sequence[ChunkRef],
        traces: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Send messages. When this returns, the broker has stored them.

        Args:
            small: the chunks of small jobs, grouped by message.
            bulk: the chunks of large jobs, each of which gets its own message.
            traces: `traceparent` of traced jobs, by job id.

        Raises:
            BrokerError: the broker did not accept all messages in time. Nothing is lost: the sweeper sends them.
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
        """Count the messages in the queues `small`, `bulk` and `dead`.

        Raises:
            BrokerError: the broker does not answer.
        """
        names = {"small": self._small, "bulk": self._bulk, "dead": self._dead}
        return self._ask(lambda connection: {role: self._count(connection, name) for role, name in names.items()})

    def take_dead(self, *job_ids: str) -> int:
        """Remove the messages of jobs from the queue of dead letters, and count them.

        Raises:
            BrokerError: the broker does not answer.
        """
        if self._dead_letters is None:
            return 0
        dead, wanted = self._dead_letters, set(job_ids)

        def take(connection: "Connection") -> int:
            taken = 0
            count = self._count(connection, self._dead)
            # Messages that are not acknowledged return to the queue when the channel closes.
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
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _ask(self, call: "Callable[[Connection], Result]") -> Result:
        """Make a call with the connection. If the connection is not new and was lost, try once more with a new one.

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
                self._down_until = monotonic() + DOWN_SECONDS
                raise BrokerError(Fault(f"the jobs broker failed: {_reason(error)}")) from error

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Lock the connection for the duration of the block.

        Raises:
            BrokerError: the broker failed a moment ago, or another thread still waits for it.
        """
        if not self._lock.acquire(timeout=CONNECT_SECONDS + ANSWER_SECONDS):
            raise BrokerError(Fault("the jobs broker does not answer"))
        try:
            if monotonic() < self._down_until:
                raise BrokerError(Fault("the jobs broker failed a moment ago"))
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
            # No heartbeats: between two messages, nothing would send them.
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
            except connection.channel_errors:  # the queue does not exist yet
                return 0

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            # Closing it properly would wait for a broker that does not answer.
            with suppress(*self._errors(connection)):
                connection.collect(socket_timeout=CONNECT_SECONDS)

    def _errors(self, connection: "Connection | None" = None) -> tuple[type[Exception], ...]:
        """The exceptions that a broker raises if it is down or refuses a message."""
        from amqp.exceptions import AMQPError, MessageNacked
        from kombu.exceptions import KombuError

        known = connection or self._connection
        own = () if known is None else (*known.connection_errors, *known.channel_errors)
        return (OSError, KombuError, AMQPError, MessageNacked, *own)


def _reason(error: Exception) -> str:
    words = str(error).strip() or str(error.__cause__ or "").strip() or type(error).__name__
    return words.splitlines()[0]
