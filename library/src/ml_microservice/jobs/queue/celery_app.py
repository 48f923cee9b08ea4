"""The Celery application: its settings, its queues, and the connection to RabbitMQ, Redis or a folder.

Celery, Kombu and the client of Redis are imported in functions, because they are optional dependencies.
"""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from ml_microservice.errors import BrokerError, ConfigError, Fault
from ml_microservice.extras import how_to_install
from ml_microservice.settings import CONFIG_FILE, Settings

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Queue

TASK = "ml_microservice.jobs.run"
TRACES = "traces"
"""Header of a message: the `traceparent` of traced jobs, by job id."""
POLL_SECONDS = 0.02
"""Time between two looks into a folder that carries messages."""
DELIVERY_LIMIT = 100
"""Deliveries after which RabbitMQ makes a message a dead letter. This is far beyond the attempts that the database
counts, and only for messages that kill every worker before it can count."""
NO_LIMIT = 1_000_000_000
HARD_LIMIT_SECONDS = 30
"""Time beyond the time limit of a chunk, after which Celery ends a process that did not end itself."""
START_SECONDS = 300
"""Time for a child process to load the model and replay its golden rows."""


def celery_app(settings: Settings) -> "Celery":
    """The Celery application for the broker of the settings.

    Raises:
        ConfigError: the settings have no broker, or an optional dependency is missing.
        BrokerError: the folder for messages cannot be created.
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
    """The names of the queue of small jobs and of the bulk queue, where large jobs do not block small ones."""
    return f"{settings.name}.jobs", f"{settings.name}.jobs.bulk"


def dead_queue(settings: Settings) -> str:
    """The name of RabbitMQ's queue of dead letters."""
    return f"{settings.name}.jobs.dead"


def _broker(settings: Settings) -> tuple[str, dict[str, Any]]:
    """The broker's URL with its password, and the options of Kombu's transport.

    Raises:
        ConfigError: the settings have no broker, or an optional dependency is missing.
        BrokerError: the folder for messages cannot be created.
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
            message = f"cannot create the folder for messages: {error.strerror}"
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
    # The default exchange routes by the queue's name.
    return Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments)


def dead_letter_queue(settings: Settings) -> "Queue":
    """RabbitMQ's queue of dead letters: the messages of chunks whose attempts are used up."""
    from kombu import Exchange, Queue

    name = dead_queue(settings)
    # Reading dead letters counts as deliveries, so there must be no limit.
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}
    return Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments)


def _missing(what: str, extra: str) -> ConfigError:
    message = f"{what}, which is not installed"
    return ConfigError(Fault(message, file=CONFIG_FILE, advice=how_to_install(extra)))
