"""Delivers webhooks at least once: a signed request to a caller's URL when a job is finished."""

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from ml_microservice.jobs.job import Job
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.jobs.webhooks.request import UndeliverableError, post
from ml_microservice.settings import Settings

MAX_REQUESTS = 16
"""Requests that are sent at a time."""
FIRST_INTERVAL, LONGEST_INTERVAL = timedelta(seconds=5), timedelta(hours=6)

logger = logging.getLogger(__name__)


def deliver_due(store: JobStore, settings: Settings, now: datetime) -> int:
    """Send the webhooks that are due, several at a time, so that a slow receiver delays no other.

    Returns:
        Number of webhooks that were sent. While it is not 0, more may be due.

    Raises:
        DatabaseError: the outcomes cannot be stored. These webhooks will be sent again.
    """
    due = store.webhooks_due(4 * MAX_REQUESTS)
    if not due:
        return 0
    with ThreadPoolExecutor(min(MAX_REQUESTS, len(due)), "webhook") as pool:
        for job, delivered in zip(due, pool.map(lambda job: send(job, settings), due), strict=True):
            again = None if delivered else next_try(job.webhook_attempts + 1, settings.jobs.webhook_attempts)
            store.webhook_done(job.job_id, delivered, None if again is None else now + again)
    return len(due)


def next_try(attempts: int, most: int) -> timedelta | None:
    """The pause after some attempts; None if the attempts are used up.

    Pauses grow fourfold. Each varies by a fifth, so that webhooks that failed together are not retried together.
    """
    if attempts >= most:
        return None
    interval = min(FIRST_INTERVAL * 4.0 ** min(attempts - 1, 10), LONGEST_INTERVAL)
    return interval * random.uniform(0.8, 1.2)


def send(job: Job, settings: Settings) -> bool:
    """Send the webhook of a finished job once; whether the receiver confirmed it with a 2xx status."""
    try:
        status = post(job, settings)
    except UndeliverableError as error:
        logger.warning("webhook of job %s not delivered: %s", job.job_id, error)
        return False
    if 200 <= status < 300:
        return True
    logger.warning("webhook of job %s not delivered: the receiver answered %d", job.job_id, status)
    return False
