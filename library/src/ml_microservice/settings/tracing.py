"""Settings of tracing."""

from typing import Annotated

from pydantic import Field

from ml_microservice.settings.section import Section
from ml_microservice.settings.urls import EMPTY_AS_NONE, with_scheme, without_password


class TracingSettings(Section):
    """Traces of requests and jobs by OpenTelemetry; off until there is an endpoint, and its SDK is not loaded then."""

    endpoint: Annotated[
        str | None,
        EMPTY_AS_NONE,
        with_scheme("http", "https"),
        without_password("set OTEL_EXPORTER_OTLP_HEADERS"),
    ] = None
    """URL of the collector that takes spans by OTLP over HTTP, such as `http://collector:4318`; none by default. Needs
    the extra `tracing`. Headers with credentials are secrets: set `OTEL_EXPORTER_OTLP_HEADERS`, never this file."""
    sample_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the traces begun by this service that are sampled; a trace begun by a caller follows the caller's
    decision."""
    timeout_seconds: float = Field(5, gt=0, le=30)
    """Longest time for sending spans, including the last ones at shutdown; no request waits for it."""
