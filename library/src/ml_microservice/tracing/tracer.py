"""Creates OpenTelemetry spans, and sends them to a collector by OTLP over HTTP from a background thread."""

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
"""Path of traces in OTLP over HTTP."""
LIBRARY = "opentelemetry"
"""Name of OpenTelemetry's logger."""
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
        """Change the span's name."""
        self.span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark the span as failed, with the kind of error but without its message, which may contain inputs."""
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
    """Creates and sends the spans of one process.

    Args:
        endpoint: URL of the collector, without a path.
        sample_ratio: share of the traces started here that are sampled.
        timeout_seconds: time for sending a batch of spans, and for sending the rest at the end.
        resource: attributes of the process that all spans carry.
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
        """A context manager for the span of a request; None if the request is not sampled.

        Args:
            method: the HTTP method.
            headers: `traceparent` and `tracestate`, if the caller sent them.
        """
        within = W3C.extract(headers, Context()) if headers else Context()
        caller = get_current_span(within).get_span_context()
        # Sampling is decided here instead of in the SDK, so that a request that is not sampled costs almost nothing.
        if not (caller.trace_flags.sampled if caller.is_valid else self._random.random() < self._sample_ratio):
            return None
        return self._block(self._tracer.start_span(method, within, SpanKind.SERVER, {"http.request.method": method}))

    def chunks(self, job_ids: Sequence[str], traces: Mapping[str, str]) -> AbstractContextManager[SampledSpan] | None:
        """A context manager for the span of chunks of jobs, in a new trace; None if it is not sampled.

        Args:
            job_ids: the job of each chunk.
            traces: `traceparent` by job, for jobs whose submissions are sampled. The span is linked to them.
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
        """Send the remaining spans, for at most `timeout_seconds`."""
        # The SDK's own shutdown waits up to 30 seconds for a collector that does not answer.
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
    """Generates ids from a random generator of its own.

    The SDK uses Python's global generator. If a hook seeds that, all processes would generate the same ids.
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
    """Exports spans, and logs once when the collector goes away and once when it is back."""

    def __init__(self, endpoint: str, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._exporter = OTLPSpanExporter(endpoint, timeout=timeout_seconds)
        self._is_away = False
        logging.getLogger(LIBRARY).setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            logger.warning("traces cannot be sent to %s and are lost; the service is not affected", self._endpoint)
        elif self._is_away and not is_away:
            logger.info("traces are sent to %s again", self._endpoint)
        if is_away != self._is_away:
            logging.getLogger(LIBRARY).setLevel(logging.CRITICAL if is_away else logging.ERROR)
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
