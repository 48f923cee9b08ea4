"""Spans by OpenTelemetry, sent to a collector by OTLP over HTTP from a thread of their own."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from random import Random
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ml_microservice.tracing.current_span import Span, Value, at_work_on

logger = logging.getLogger(__name__)
PATH = "/v1/traces"
"""Of OTLP over HTTP."""
LIBRARY = "opentelemetry"
"""The logger of all that the library says."""
W3C = TraceContextTextMapPropagator()


class SampledSpan:
    """See `ml_microservice.tracing.current_span.Span`."""

    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self.span = span

    @property
    def traceparent(self) -> str:
        """See `Span`."""
        carrier: dict[str, str] = {}
        W3C.inject(carrier, set_span_in_context(self.span, Context()))
        return carrier["traceparent"]

    def set_attribute(self, name: str, value: Value) -> None:
        """See `Span`."""
        self.span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self.span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark it as failed, by an error of this kind: never a message, which may repeat what was sent."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(StatusCode.ERROR)

    def add_event(self, name: str, values: Mapping[str, Value]) -> None:
        """See `Span`."""
        self.span.add_event(name, values)

    def child(self, name: str, started: int, linked: Span | None, values: Mapping[str, Value]) -> "SampledSpan":
        """See `Span`."""
        links = [Link(linked.span.get_span_context())] if isinstance(linked, SampledSpan) else []
        within = set_span_in_context(self.span, Context())
        span = self._tracer.start_span(name, within, attributes=values, links=links, start_time=started)
        span.end()
        return SampledSpan(self._tracer, span)


class Tracer:
    """Makes spans, in one process.

    Args:
        endpoint: of the collector, without the path of traces.
        sample_ratio: share of the traces that begin here which are sampled.
        timeout_seconds: for a sending, and at the end for all that waits.
        resource: what all spans are of.
    """

    def __init__(self, endpoint: str, sample_ratio: float, timeout_seconds: float, resource: Mapping[str, str]) -> None:
        self._timeout_seconds = timeout_seconds
        self._sample_ratio = sample_ratio
        self._random = Random()
        self._provider = TracerProvider(
            ALWAYS_ON, Resource.create(dict(resource)), shutdown_on_exit=False, id_generator=_OwnIds(self._random)
        )
        exporter = _Exporter(endpoint.rstrip("/") + PATH, timeout_seconds)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("service")

    def request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[SampledSpan] | None:
        """The span of a request that is answered within the block; None if it is not sampled.

        Args:
            method: of HTTP.
            headers: `traceparent` and `tracestate`, if the caller sent them.
        """
        within = W3C.extract(headers, Context()) if headers else Context()
        caller = get_current_span(within).get_span_context()
        # Decided here, not by a sampler of the library: what is not sampled then costs next to nothing.
        if not (caller.trace_flags.sampled if caller.is_valid else self._random.random() < self._sample_ratio):
            return None
        return self._block(self._tracer.start_span(method, within, SpanKind.SERVER, {"http.request.method": method}))

    def chunks(self, job_ids: Sequence[str], traces: Mapping[str, str]) -> AbstractContextManager[SampledSpan] | None:
        """The span of chunks of jobs that are run within the block, a new trace; None if it is not sampled.

        Args:
            job_ids: one for each chunk.
            traces: `traceparent` of the jobs whose submissions are sampled, which it is linked to.
        """
        ids = [*dict.fromkeys(job_ids)]
        links = []
        for job_id in ids:
            within = W3C.extract({"traceparent": traces.get(job_id, "")}, Context())
            submission = get_current_span(within).get_span_context()
            if submission.trace_flags.sampled:
                links.append(Link(submission, {"job.id": job_id}))
        if not links and self._random.random() >= self._sample_ratio:
            return None
        values: dict[str, Value] = {"job.ids": ids, "job.chunks": len(job_ids)}
        return self._block(self._tracer.start_span("run job", Context(), SpanKind.CONSUMER, values, links))

    def close(self) -> None:
        """Send what waits, as far as the collector takes it in time."""
        # The library's own shutdown waits for up to 30 seconds for a collector that is away.
        sending = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(self._timeout_seconds)

    @contextmanager
    def _block(self, started: OtelSpan) -> Iterator[SampledSpan]:
        span = SampledSpan(self._tracer, started)
        try:
            with at_work_on(span):
                yield span
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            started.end()


class _OwnIds(IdGenerator):
    """Ids of a generator of their own.

    The library's is Python's common one, which hooks may have seeded: then all processes would make the same ids.
    """

    def __init__(self, random: Random) -> None:
        self._random = random

    def generate_span_id(self) -> int:
        return self._random.randrange(1, 2**64)

    def generate_trace_id(self) -> int:
        return self._random.randrange(1, 2**128)

    def is_trace_id_random(self) -> bool:
        return True


class _Exporter(SpanExporter):
    """The library's, which says once that a collector is away, and once that it is back."""

    def __init__(self, endpoint: str, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._exporter = OTLPSpanExporter(endpoint, timeout=timeout_seconds)
        self._is_away = False
        logging.getLogger(LIBRARY).setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            logger.warning("traces cannot be sent to %s and are lost; all else goes on", self._endpoint)
        elif self._is_away and not is_away:
            logger.info("traces are sent to %s again", self._endpoint)
        if is_away != self._is_away:
            logging.getLogger(LIBRARY).setLevel(logging.CRITICAL if is_away else logging.ERROR)
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
