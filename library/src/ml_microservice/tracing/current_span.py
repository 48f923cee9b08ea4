"""The current span: that of the request or of the chunks that are being processed.

This module does not import OpenTelemetry. Without `tracing.endpoint` in the settings there is no span.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Value = str | int | float | bool | Sequence[str]
"""Value of an attribute. Inputs and predictions must not be attributes: traces may go where records may not."""


class Span(Protocol):
    """A sampled span. Requests that are not sampled have none."""

    @property
    def traceparent(self) -> str:
        """The W3C header `traceparent`, for processes that continue the work."""
        ...

    def set_attribute(self, name: str, value: Value) -> None:
        """Set an attribute."""
        ...

    def add_event(self, name: str, values: Mapping[str, Value]) -> None:
        """Add an event with the current time."""
        ...

    def child(self, name: str, started: int, linked: "Span | None", values: Mapping[str, Value]) -> "Span":
        """Add a child span that ends now.

        Args:
            name: name of the child span.
            started: its start, in nanoseconds since 1970.
            linked: another span of the same work.
            values: attributes of the child span.
        """
        ...


CURRENT: ContextVar[Span | None] = ContextVar("CURRENT", default=None)


def set_attribute(name: str, value: Value) -> None:
    """Set an attribute of the current span, if there is one."""
    span = CURRENT.get()
    if span is not None:
        span.set_attribute(name, value)


def add_event(name: str, values: Mapping[str, Value]) -> None:
    """Add an event to the current span, if there is one."""
    span = CURRENT.get()
    if span is not None:
        span.add_event(name, values)


@contextmanager
def at_work_on(span: Span) -> Iterator[None]:
    """Make a span the current one within the block."""
    token = CURRENT.set(span)
    try:
        yield
    finally:
        CURRENT.reset(token)
