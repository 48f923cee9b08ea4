"""The span of the request, or of the chunks, that is at work here; and what the rest of the service says of it.

This module imports nothing of OpenTelemetry: without an endpoint in the settings, there never is a span.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Value = str | int | float | bool | Sequence[str]
"""Of an attribute. Never what was sent or answered: traces go where records may not."""


class Span(Protocol):
    """What was sampled: of the rest, there is no span."""

    @property
    def traceparent(self) -> str:
        """The W3C header that says which it is, for whoever goes on with its work."""
        ...

    def set_attribute(self, name: str, value: Value) -> None:
        """Set an attribute."""
        ...

    def add_event(self, name: str, values: Mapping[str, Value]) -> None:
        """Add an event, now."""
        ...

    def child(self, name: str, started: int, linked: "Span | None", values: Mapping[str, Value]) -> "Span":
        """A span within it that ends now.

        Args:
            name: of the span.
            started: when it began, in nanoseconds since 1970.
            linked: another one that is of the same work.
            values: its attributes.
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
    """Within the block, this is the current span."""
    token = CURRENT.set(span)
    try:
        yield
    finally:
        CURRENT.reset(token)
