"""The message of a webhook, by the Standard Webhooks specification."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import orjson

from ml_microservice.jobs.job import Job
from ml_microservice.settings import WEBHOOK_KEY_PREFIX


def payload_of(job: Job) -> bytes:
    """The payload. It contains no predictions: those need an API key."""
    data = {name: getattr(job, name) for name in ("job_id", "state", "rows", "rows_failed", "finished_at")}
    return orjson.dumps({"type": f"job.{job.state}", "timestamp": job.finished_at, "data": data})


def message_id(job: Job) -> str:
    """The message's id: the same for all attempts, and a new one if a failed job is retried and finishes again."""
    finished = datetime.fromisoformat(job.finished_at) if job.finished_at else datetime.fromtimestamp(0, UTC)
    return f"{job.job_id}-{round(finished.timestamp() * 1000)}"


def signature(key: str, message: str, timestamp: int, payload: bytes) -> str:
    """Sign id, time and payload with a key that is written as in `jobs.webhook_key`."""
    secret = base64.b64decode(key.removeprefix(WEBHOOK_KEY_PREFIX))
    signed = f"{message}.{timestamp}.".encode() + payload
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"
