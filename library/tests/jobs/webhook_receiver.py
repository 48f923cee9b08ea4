"""A receiver of webhooks: a real HTTP or HTTPS server on a free port, which keeps what it was sent."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme


class Receiver:
    """Answers with the statuses that it is given, one after the other, then with 204.

    Args:
        ca: issues a certificate for `host`; without one, the receiver speaks HTTP.
        host: that the certificate is for.
    """

    def __init__(self, ca: trustme.CA | None = None, host: str = "localhost") -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        """Path, headers and body of each request."""
        self.statuses: list[int] = []
        """To answer with next."""
        self.headers: dict[str, str] = {}
        """Of every answer."""
        self.seconds = 0.0
        """To wait before an answer."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
                time.sleep(receiver.seconds)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                for name, text in receiver.headers.items():
                    self.send_header(name, text)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ca.issue_cert(host).configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
