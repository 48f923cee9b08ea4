"""A collector of OpenTelemetry that keeps what it is sent, for tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Received:
    """A span, as the collector sees it."""

    name: str
    trace: str
    id: str
    parent: str
    """Empty if it has none."""
    kind: int
    start: int
    end: int
    is_error: bool
    attributes: dict[str, Any]
    events: dict[str, dict[str, Any]]
    links: list[str]
    """Ids of the spans that it is linked to."""
    resource: dict[str, Any]


@dataclass
class Collector:
    """What has come."""

    url: str
    spans: list[Received] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        """The spans of a name, in the order in which they began."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            request = ExportTraceServiceRequest.FromString(body)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.bodies.append(body)
            collector.spans += [span for resource in request.resource_spans for span in _spans(resource)]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: it is not the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(of_resource: Any) -> Iterator[Received]:
    resource = _values(of_resource.resource.attributes)
    for scope in of_resource.scope_spans:
        for span in scope.spans:
            yield Received(
                span.name,
                *(span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                *(span.kind, span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2),
                _values(span.attributes),
                {event.name: _values(event.attributes) for event in span.events},
                [link.span_id.hex() for link in span.links],
                resource,
            )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
