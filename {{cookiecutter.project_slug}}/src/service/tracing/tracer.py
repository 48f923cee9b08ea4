"""Spans by OpenTelemetry, sent to a collector by OTLP over HTTP from a thread of their own."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    SpanKind,
    StatusCode,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from service.tracing.current import Span, Value, at_work_on

logger = logging.getLogger(__name__)
PATH = "/v1/traces"
"""Of OTLP over HTTP."""
LIBRARY = "opentelemetry"
"""The logger of all that the library says."""
W3C = TraceContextTextMapPropagator()


class SampledSpan:
    """See `service.tracing.current.Span`."""

    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self.span = span

    @property
    def traceparent(self) -> str:
        """See `Span`."""
        carrier: dict[str, str] = {}
        W3C.inject(carrier, set_span_in_context(self.span, Context()))
        return carrier["traceparent"]

    def note(self, name: str, value: Value) -> None:
        """See `Span`."""
        self.span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self.span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark it as failed, by an error of this kind: never a message, which may repeat what was sent."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(StatusCode.ERROR)

    def happened(self, name: str, values: Mapping[str, Value]) -> None:
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
        self._provider = TracerProvider(
            ParentBased(_LinkedOrRatio(sample_ratio)), Resource.create(dict(resource)), shutdown_on_exit=False
        )
        exporter = _Exporter(endpoint.rstrip("/") + PATH, timeout_seconds)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("service")

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[SampledSpan | None]:
        """The block answers a request; its span, if it is sampled.

        Args:
            method: of HTTP.
            headers: `traceparent` and `tracestate`, if the caller sent them.
        """
        within = W3C.extract(headers, Context())
        values = {"http.request.method": method}
        with self._span(self._tracer.start_span(method, within, SpanKind.SERVER, values)) as span:
            yield span

    @contextmanager
    def chunks(self, job_ids: Sequence[str], traces: Mapping[str, str]) -> Iterator[SampledSpan | None]:
        """The block runs chunks of jobs; its span, if it is sampled: a new trace, linked to the jobs' submissions.

        Args:
            job_ids: one for each chunk.
            traces: `traceparent` of the jobs whose submissions are sampled.
        """
        links = []
        for job_id in dict.fromkeys(job_ids):
            submitted = get_current_span(W3C.extract({"traceparent": traces.get(job_id, "")}, Context()))
            if submitted.get_span_context().is_valid:
                links.append(Link(submitted.get_span_context(), {"job.id": job_id}))
        values: dict[str, Value] = {"job.ids": [*dict.fromkeys(job_ids)], "job.chunks": len(job_ids)}
        with self._span(self._tracer.start_span("run job", Context(), SpanKind.CONSUMER, values, links)) as span:
            yield span

    def close(self) -> None:
        """Send what waits, as far as the collector takes it in time."""
        # The library's own shutdown waits for up to 30 seconds for a collector that is away.
        sending = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(self._timeout_seconds)

    @contextmanager
    def _span(self, started: OtelSpan) -> Iterator[SampledSpan | None]:
        span = SampledSpan(self._tracer, started) if started.is_recording() else None
        try:
            with at_work_on(span):
                yield span
        except Exception as error:
            if span is not None:
                span.fail(type(error).__name__)
            raise
        finally:
            started.end()


class _LinkedOrRatio(Sampler):
    """Samples what goes on with the work of a sampled span, and a share of the rest."""

    def __init__(self, ratio: float) -> None:
        self._by_ratio = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._by_ratio.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"LinkedOr{self._by_ratio.get_description()}"


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
