"""The URLs that webhooks may go to.

A URL comes from a caller, so it could name an address that only this network reaches. Its addresses are checked when it
is submitted and again when the webhook is sent, and the connection goes to the very address that was checked.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from ml_microservice.inference.problems import Problem
from ml_microservice.settings import Settings

LONGEST_URL = 2048
TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6-only networks write them (NAT64)."""


class Target(NamedTuple):
    """Where a webhook goes."""

    url: SplitResult
    port: int
    addresses: list[str]
    """All addresses of the host."""

    def is_allowed(self, settings: Settings) -> bool:
        """Whether all addresses may receive webhooks."""
        return settings.jobs.private_webhooks or all(map(is_public, self.addresses))


def check_url(url: str, settings: Settings) -> None:
    """Refuse a URL to which no webhook can or may be sent. This resolves its host, so it must not run on an event loop.

    A host that cannot be resolved now is accepted: it may be resolvable when the job is finished.

    Raises:
        Problem: 422, with advice.
    """
    if settings.jobs.webhook_key is None:
        raise _refused("leave it out, or whoever runs this service sets SERVICE__JOBS__WEBHOOK_KEY")
    try:
        target = resolve(url)
    except ValueError as error:
        raise _refused(f"{error}; send an absolute URL, such as https://example.com/finished") from error
    except OSError:
        return
    if not target.is_allowed(settings):
        detail = "its host is not a public address: name one that is, or whoever runs this service sets "
        raise _refused(f"{detail}jobs.private_webhooks")


def resolve(url: str) -> Target:
    """Parse a URL and resolve its host.

    Raises:
        OSError: the host cannot be resolved.
        ValueError: the URL cannot be used; the text says why.
    """
    # Checked before the URL is split, because splitting silently drops line ends.
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST_URL:
        raise ValueError(f"it may have up to {LONGEST_URL} printable ASCII characters")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it has to begin with https:// or http://")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it may not carry credentials, which would be stored")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise ValueError("its host is no name") from error
    return Target(parts, port, list(dict.fromkeys(str(address[0]) for *_, address in found)))


def is_public(address: str) -> bool:
    """Whether an address is on the public internet, however it is written."""
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


def _refused(reason: str) -> Problem:
    return Problem(422, "webhook-refused", "The webhook is not taken", f"The webhook's URL is refused: {reason}.")
