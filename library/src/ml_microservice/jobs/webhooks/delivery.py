"""Tells a caller's URL that a job is finished, signed by the Standard Webhooks specification, at least once.

The URL comes from outside, so it could name what only this network reaches. Its addresses are looked at when it is
given and again when it is used, and the connection goes to the very address that was looked at.
"""

import base64
import hashlib
import hmac
import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import orjson

from ml_microservice.inference.problems import Problem
from ml_microservice.settings import WEBHOOK_KEY_PREFIX, Settings

if TYPE_CHECKING:
    from ml_microservice.jobs.job import Job
    from ml_microservice.jobs.store.job_store import JobStore

SECONDS = 10.0
"""Time for one webhook, from the connection to the first line of the answer."""
AT_ONCE = 16
FIRST_INTERVAL, LONGEST_INTERVAL = timedelta(seconds=5), timedelta(hours=6)
LONGEST_URL = 2048
LONGEST_ANSWER = 16 * 2**10
"""Bytes that are read of an answer at most, for its status."""
TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as networks without IPv4 write them."""
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")

logger = logging.getLogger(__name__)


class UndeliverableError(Exception):
    """A webhook was not delivered this time; the text says why, without the URL, which may hold a secret."""


def check_url(url: str, settings: Settings) -> None:
    """Refuse a URL that no webhook could or may go to. Asks the name service, so not for an event loop.

    A name that cannot be resolved now passes: it may be resolved when the job is finished.

    Raises:
        Problem: 422, saying what to do.
    """
    if settings.jobs.webhook_key is None:
        raise _refused("leave it out, or whoever runs this service sets SERVICE__JOBS__WEBHOOK_KEY")
    try:
        parts, port = _parts(url)
        addresses = _addresses(parts, port)
    except ValueError as error:
        raise _refused(f"{error}; send an absolute URL, such as https://example.com/finished") from error
    except OSError:
        return
    if not settings.jobs.private_webhooks and not all(map(is_public, addresses)):
        detail = "its host is not a public address: name one that is, or whoever runs this service sets "
        raise _refused(f"{detail}jobs.private_webhooks")


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet, whichever way it is written."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        within = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in TRANSLATED:
            within.append(IPv4Address(int(ip) & 0xFFFF_FFFF))
        if not all(is_public(str(one)) for one in within if one is not None):
            return False
        if ip.ipv4_mapped is not None or ip in TRANSLATED:
            return True
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def deliver_due(store: "JobStore", settings: Settings, now: datetime) -> int:
    """Send the webhooks that are due, several at once so that a slow receiver holds up no others.

    Returns:
        How many were tried; while there are any, more may be due.

    Raises:
        DatabaseError: what came of them cannot be stored; they are sent again.
    """
    due = store.webhooks_due(4 * AT_ONCE)
    if not due:
        return 0
    with ThreadPoolExecutor(min(AT_ONCE, len(due)), "webhook") as pool:
        for job, delivered in zip(due, pool.map(lambda job: send(job, settings), due), strict=True):
            again = None if delivered else next_try(job.webhook_attempts + 1, settings.jobs.webhook_attempts)
            store.webhook_done(job.job_id, delivered, None if again is None else now + again)
    return len(due)


def next_try(attempts: int, most: int) -> timedelta | None:
    """How long to wait after so many attempts; None once there have been enough.

    Four times as long each time, more or less by a fifth so that many do not come back together.
    """
    if attempts >= most:
        return None
    interval = min(FIRST_INTERVAL * 4.0 ** min(attempts - 1, 10), LONGEST_INTERVAL)
    return interval * random.uniform(0.8, 1.2)


def send(job: "Job", settings: Settings) -> bool:
    """Send the webhook of a finished job once; whether the receiver answered that it has it, with 2xx."""
    try:
        status = _post(job, settings)
    except UndeliverableError as error:
        logger.warning("webhook of job %s not delivered: %s", job.job_id, error)
        return False
    if 200 <= status < 300:
        return True
    logger.warning("webhook of job %s not delivered: the receiver answered %d", job.job_id, status)
    return False


def body(job: "Job") -> bytes:
    """What is sent: nothing of what was predicted, which is fetched with an API key."""
    data = {name: getattr(job, name) for name in ("job_id", "state", "rows", "rows_failed", "finished_at")}
    return orjson.dumps({"type": f"job.{job.state}", "timestamp": job.finished_at, "data": data})


def message_id(job: "Job") -> str:
    """Equal for all attempts, and another one if a job that failed is run again and finishes once more."""
    finished = datetime.fromisoformat(job.finished_at) if job.finished_at else datetime.fromtimestamp(0, UTC)
    return f"{job.job_id}-{round(finished.timestamp() * 1000)}"


def signature(key: str, message: str, timestamp: int, payload: bytes) -> str:
    """Of the id, the time and the payload, as the specification has it; the key as `jobs.webhook_key` is written."""
    secret = base64.b64decode(key.removeprefix(WEBHOOK_KEY_PREFIX))
    signed = f"{message}.{timestamp}.".encode() + payload
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def _refused(reason: str) -> Problem:
    return Problem(422, "webhook-refused", "The webhook is not taken", f"The webhook's URL is refused: {reason}.")


def _parts(url: str) -> tuple[SplitResult, int]:
    """The URL, and its port.

    Raises:
        ValueError: it is none that can be posted to; says why.
    """
    # Checked before it is split, which would silently leave out line ends.
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST_URL:
        raise ValueError(f"it may have up to {LONGEST_URL} printable ASCII characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it has to begin with https:// or http://")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it may not carry credentials, which would be stored")
    return parts, parts.port or (443 if parts.scheme == "https" else 80)


def _addresses(parts: SplitResult, port: int) -> list[str]:
    """All addresses of the URL's host.

    Raises:
        OSError: it cannot be resolved.
        ValueError: it is no name of a host.
    """
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise ValueError("its host is no name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _post(job: "Job", settings: Settings) -> int:
    """The status of the receiver's answer.

    Raises:
        UndeliverableError: there is none.
    """
    key = settings.jobs.webhook_key
    if key is None or not job.webhook_url:
        raise UndeliverableError("SERVICE__JOBS__WEBHOOK_KEY is not set any more")
    deadline = time.monotonic() + SECONDS
    try:
        parts, port = _parts(job.webhook_url)
        addresses = _addresses(parts, port)
        if not settings.jobs.private_webhooks and not all(map(is_public, addresses)):
            raise UndeliverableError(f"{parts.hostname} is not a public address")
        request = _request(parts, job, key.get_secret_value())
        with _connected(addresses, parts, port, deadline) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(request)
            return _status(connection, deadline)
    except (OSError, ValueError) as error:
        raise UndeliverableError(str(error)) from error


def _request(parts: SplitResult, job: "Job", key: str) -> bytes:
    payload, message, now = body(job), message_id(job), int(time.time())
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
    """A connection to the first address that takes one; by TLS, its certificate is that of the URL's host.

    Raises:
        OSError: none takes one, or the certificate is another's.
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
    """The status, read no further than its line; 1xx, which only announce another answer, are skipped.

    Raises:
        OSError: there is no answer in time.
        ValueError: it is not HTTP.
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
    """Seconds until then.

    Raises:
        TimeoutError: none.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError(f"no answer within {SECONDS:g} seconds")
    return seconds
