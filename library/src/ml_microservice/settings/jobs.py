"""Settings of asynchronous predictions."""

from base64 import b64decode
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from ml_microservice.settings.section import SECRET, Section
from ml_microservice.settings.urls import EMPTY_AS_NONE, with_scheme, without_password

WEBHOOK_KEY_PREFIX = "whsec_"
WEBHOOK_KEY_BYTES = range(24, 65)
"""Lengths of keys in the Standard Webhooks specification."""
BROKER_SCHEMES = ("amqp", "amqps", "redis", "rediss", "filesystem")
NO_PASSWORD = without_password("set SERVICE__JOBS__BROKER_PASSWORD")


def _usable_webhook_key(key: SecretStr | None) -> SecretStr | None:
    if key is None:
        return None
    text = key.get_secret_value()
    try:
        secret = b64decode(text.removeprefix(WEBHOOK_KEY_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not text.startswith(WEBHOOK_KEY_PREFIX) or len(secret) not in WEBHOOK_KEY_BYTES:
        raise ValueError(
            f"it has to be {WEBHOOK_KEY_PREFIX} and {WEBHOOK_KEY_BYTES.start} to {WEBHOOK_KEY_BYTES.stop - 1} "
            "bytes as base64: echo whsec_$(openssl rand -base64 32) makes one"
        )
    return key


class JobsSettings(Section):
    """Asynchronous predictions: a job is a row of the database first, and a message to the workers second."""

    broker: Annotated[str | None, EMPTY_AS_NONE, NO_PASSWORD, with_scheme(*BROKER_SCHEMES)] = (
        "filesystem://var/jobs/messages"
    )
    """URL, without a password, of what carries messages to the workers: `amqp://user@host:5672/vhost` (RabbitMQ) in
    production, `redis://host:6379/0`, or a folder on this machine. `null`, or an empty variable, for a service without
    jobs."""
    broker_password: Annotated[SecretStr | None, SECRET] = None
    """Password of the broker's user. A secret: set `SERVICE__JOBS__BROKER_PASSWORD`, never this file."""
    storage: str = "var/jobs/files"
    """Folder or fsspec URL (`s3://bucket/jobs`) of large bodies and results, the same for all services and workers."""
    inline_bytes: int = Field(64 * 2**10, ge=0, le=2**20)
    """Largest body or result that is kept in the database instead of `storage`."""
    max_body_bytes: int = Field(2**30, ge=1024)
    """Largest body of a job in bytes; a larger one is answered with 413."""
    chunk_rows: int = Field(5_000, ge=1, le=100_000)
    """Rows in a chunk: a larger job is split into chunks, which the workers share."""
    max_queued: int = Field(100_000, ge=1)
    """Most chunks that may wait; beyond that, a new job is answered with 429 and `Retry-After`."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a chunk is tried, when its worker dies or it exceeds its time, before its job fails."""
    timeout_seconds: float = Field(600, gt=0, le=1500)
    """Longest time that a chunk may take. RabbitMQ takes a message back after 30 minutes."""
    lease_seconds: float = Field(30, ge=2)
    """Time without a sign of life from a worker after which its chunk is given to another."""
    result_days: float = Field(7, gt=0)
    """Age at which a finished job is deleted together with its result."""
    concurrency: int | None = Field(None, ge=1, le=256)
    """Number of processes of a worker; one per core by default."""
    shutdown_seconds: int = Field(30, ge=1)
    """Time that chunks in progress have to finish after SIGTERM; the others are returned to the queue."""
    result_backend: Annotated[str | None, NO_PASSWORD] = None
    """Where Celery stores the states of its tasks for external tools, such as `redis://host:6379/1`; nowhere by
    default, because jobs and results are in the database."""
    metrics_port: int | None = Field(None, ge=1, le=65535)
    """Port of a worker's own metrics; none by default."""
    webhook_key: Annotated[SecretStr | None, AfterValidator(_usable_webhook_key), SECRET] = None
    """Key that signs webhooks: `whsec_` and 24 to 64 bytes as base64. Without it, jobs with a webhook are refused. A
    secret: set `SERVICE__JOBS__WEBHOOK_KEY`, never this file."""
    webhook_attempts: int = Field(8, ge=1, le=50)
    """How often delivery of a webhook is tried, at growing intervals."""
    private_webhooks: bool = False
    """Whether webhooks may be sent to loopback, private and link-local addresses."""
