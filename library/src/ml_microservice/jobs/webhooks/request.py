"""Sends a webhook's HTTP request to an address that was checked, within a time limit.

The standard library's clients would resolve the host once more, and could then reach another address.
"""

import re
import socket
import ssl
import time
from collections.abc import Sequence
from urllib.parse import SplitResult

from ml_microservice.jobs.job import Job
from ml_microservice.jobs.webhooks.message import message_id, payload_of, signature
from ml_microservice.jobs.webhooks.url import resolve
from ml_microservice.settings import Settings

SECONDS = 10.0
"""Time limit from the connection to the status line of the answer."""
LONGEST_ANSWER = 16 * 2**10
"""Most bytes that are read of an answer to find its status."""
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class UndeliverableError(Exception):
    """A delivery failed. The text says why, without the URL, which may contain a secret."""


def post(job: Job, settings: Settings) -> int:
    """Send the webhook of a job.

    Returns:
        The status of the receiver's answer.

    Raises:
        UndeliverableError: there is no answer.
    """
    key = settings.jobs.webhook_key
    if key is None or not job.webhook_url:
        raise UndeliverableError("SERVICE__JOBS__WEBHOOK_KEY is not set any more")
    deadline = time.monotonic() + SECONDS
    try:
        target = resolve(job.webhook_url)
        if not target.is_allowed(settings):
            raise UndeliverableError(f"{target.url.hostname} is not a public address")
        request = _request(target.url, job, key.get_secret_value())
        with _connected(target.addresses, target.url, target.port, deadline) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(request)
            return _status(connection, deadline)
    except (OSError, ValueError) as error:
        raise UndeliverableError(str(error)) from error


def _request(parts: SplitResult, job: Job, key: str) -> bytes:
    payload, message, now = payload_of(job), message_id(job), int(time.time())
    headers = {
        "Host": parts.netloc,
        "User-Agent": "service-webhooks",
        "Content-Type": "application/json",
        "Content-Length": str(len(payload)),
        "Connection": "close",
        "webhook-id": message,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(key, message, now, payload),
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + payload


def _connected(addresses: Sequence[str], parts: SplitResult, port: int, deadline: float) -> socket.socket:
    """Connect to the first address that accepts. For https, the certificate must be valid for the URL's host.

    Raises:
        OSError: no address accepts, or the certificate is not valid.
    """
    failure = OSError("no address")
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), timeout=_left(deadline))
        except OSError as error:
            failure = error
            continue
        if parts.scheme == "http":
            return connection
        try:
            connection.settimeout(_left(deadline))
            return ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
        except OSError:
            connection.close()
            raise
    raise failure


def _status(connection: socket.socket, deadline: float) -> int:
    """Read the status of the answer, and nothing after its line. Interim answers (1xx) are skipped.

    Raises:
        OSError: there is no answer in time.
        ValueError: the answer is not HTTP.
    """
    answer = b""
    while len(answer) < LONGEST_ANSWER:
        head, line_end, _ = answer.partition(b"\r\n")
        if line_end:
            status = STATUS.match(head + b"\r")
            if status is None:
                break
            if not status[1].startswith(b"1"):
                return int(status[1])
            _, header_end, rest = answer.partition(b"\r\n\r\n")
            if header_end:
                answer = rest
                continue
        connection.settimeout(_left(deadline))
        received = connection.recv(4096)
        if not received:
            raise OSError("the receiver closed the connection without an answer")
        answer += received
    raise ValueError("the receiver's answer is not HTTP")


def _left(deadline: float) -> float:
    """Seconds left until the deadline.

    Raises:
        TimeoutError: the deadline has passed.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(f"no answer within {SECONDS:g} seconds")
    return seconds
