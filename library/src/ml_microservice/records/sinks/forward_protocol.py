"""The Forward protocol v1 of Fluentd: sends events over TCP or TLS, with acknowledgements.

A message is `[tag, entries, {"chunk": id, "size": n}]`; the receiver answers `{"ack": id}` once it has taken all of it.
If the receiver has a shared key, both sides prove that they know it before the first message: HELO, PING, PONG.
"""

import hashlib
import hmac
import secrets
import socket
import ssl
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import msgpack

EVENT_TIME = 0
"""The extension type for times with nanoseconds."""
SHARED_KEY = "SERVICE__FLUENTD__SHARED_KEY"


class ForwardError(Exception):
    """The receiver cannot be reached or trusted, or has not acknowledged a message."""


def entry(time: str, document: dict[str, Any]) -> bytes:
    """Serialize an event.

    Args:
        time: ISO 8601 with an offset.
        document: the content of the event.

    Raises:
        ValueError: the document has a value that the protocol cannot carry.
    """
    moment = datetime.fromisoformat(time)
    try:
        stamp = int(moment.timestamp()).to_bytes(4, "big") + (moment.microsecond * 1000).to_bytes(4, "big")
        return bytes(msgpack.packb([msgpack.ExtType(EVENT_TIME, stamp), document]))
    except (OverflowError, TypeError) as error:
        raise ValueError(f"cannot be sent by the Forward protocol: {error}") from None


class ForwardConnection:
    """A connection to a receiver. After an error it must be closed and replaced.

    Args:
        host: name or address of the receiver, which its certificate must match.
        port: port of the receiver.
        timeout: seconds to connect, and to wait for each acknowledgement.
        tls: whether to use TLS and verify the receiver's certificate.
        ca_file: certificate authorities to trust; the system's by default.
        shared_key: the receiver's, if it has one.

    Raises:
        ForwardError: the connection or the authentication failed.
    """

    def __init__(
        self, host: str, port: int, timeout: float, tls: bool, ca_file: Path | None, shared_key: str | None
    ) -> None:
        self.place = f"{host}:{port}"
        self._timeout = timeout
        self._unpacker = msgpack.Unpacker(raw=True)
        self._keep_alive = True
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout)
        except OSError as error:
            raise ForwardError(f"no connection to {self.place}: {error}") from error
        try:
            if tls:
                self._socket = _with_tls(self._socket, host, ca_file, self.place)
            if shared_key is not None:
                self._authenticate(shared_key.encode())
        except BaseException:
            self._socket.close()
            raise

    def send(self, tag: str, entries: Sequence[bytes]) -> None:
        """Send events and wait for the acknowledgement.

        Raises:
            ForwardError: there was none; the receiver may still have some or all of the events.
        """
        chunk = b64encode(secrets.token_bytes(16))
        options = {"chunk": chunk.decode(), "size": len(entries)}
        self._write([tag, b"".join(entries), options])
        answer = self._read("an acknowledgement")
        if isinstance(answer, list) and answer[:1] == [b"HELO"]:
            raise ForwardError(f"{self.place} asks for a shared key: set {SHARED_KEY}")
        if not isinstance(answer, dict) or answer.get(b"ack") != chunk:
            raise ForwardError(f"{self.place} acknowledged something else than what it was sent")
        if not self._keep_alive:
            self.close()

    @property
    def usable(self) -> bool:
        """Whether the connection seems to be open, as far as can be known without sending."""
        if self._socket.fileno() == -1:
            return False
        self._socket.setblocking(False)
        try:
            # The receiver sends nothing between messages. Data or an end of stream mean that the connection is over.
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        else:
            return False
        finally:
            self._socket.settimeout(self._timeout)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _authenticate(self, key: bytes) -> None:
        """Prove to the receiver that this side knows the shared key, and verify that the receiver knows it."""
        match self._read("its HELO: has it a <security> section?"):
            case [b"HELO", {b"nonce": bytes(nonce), **options}]:
                self._keep_alive = bool(options.get(b"keepalive", True))
            case _:
                raise ForwardError(f"{self.place} does not speak the Forward protocol")
        if options.get(b"auth"):
            raise ForwardError(f"{self.place} asks for a user and a password: set user_auth to false there")
        name, salt = socket.gethostname(), secrets.token_hex(16)
        self._write(["PING", name, salt, _digest(salt.encode(), name.encode(), nonce, key), "", ""])
        match self._read("its PONG"):
            case [b"PONG", True, _, bytes(server), bytes(digest)]:
                expected = _digest(salt.encode(), server, nonce, key).encode()
            case [b"PONG", False, bytes(reason), _, _]:
                words, advice = reason.decode(errors="replace"), f"is {SHARED_KEY} the key of its <security> section?"
                raise ForwardError(f"{self.place} refuses the shared key ({words}): {advice}")
            case _:
                raise ForwardError(f"{self.place} does not speak the Forward protocol")
        if not hmac.compare_digest(digest, expected):
            raise ForwardError(f"{self.place} does not know the shared key itself, so nothing is sent to it")

    def _write(self, message: Any) -> None:
        try:
            self._socket.sendall(msgpack.packb(message))
        except OSError as error:
            raise ForwardError(f"{self.place} closed the connection: {error}") from error

    def _read(self, what: str) -> Any:
        """Read a complete message. The timeout holds for the whole message, however slowly it arrives."""
        deadline = monotonic() + self._timeout
        try:
            while True:
                for message in self._unpacker:
                    return message
                left = deadline - monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                data = self._socket.recv(65536)
                if not data:
                    raise ForwardError(f"{self.place} closed the connection instead of {what}")
                self._unpacker.feed(data)
        except TimeoutError:
            raise ForwardError(f"{self.place} did not send {what} within {self._timeout:g} s") from None
        except OSError as error:
            raise ForwardError(f"{self.place} broke the connection: {error}") from error
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise ForwardError(f"{self.place} does not speak the Forward protocol: {error}") from error
        finally:
            if self._socket.fileno() != -1:
                self._socket.settimeout(self._timeout)


def _with_tls(plain: socket.socket, host: str, ca_file: Path | None, place: str) -> ssl.SSLSocket:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise ForwardError(f"fluentd.ca_file cannot be read: {error}") from error
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise ForwardError(f"the certificate of {place} is not trusted: {error.verify_message}") from error
    except OSError as error:
        raise ForwardError(f"no TLS with {place}: {error}") from error


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()
