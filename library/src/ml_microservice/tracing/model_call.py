"""Spans of model calls, as children of the requests that they serve."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns

from ml_microservice.tracing.current_span import CURRENT, Span, Value

NAME = "model"


def model_call(version: str, rows: int) -> AbstractContextManager[None]:
    """Trace the block as a model call of the current span."""
    span = CURRENT.get()
    return nullcontext() if span is None else shared_model_call([span], version, rows)


@contextmanager
def shared_model_call(spans: Sequence[Span], version: str, rows: int) -> Iterator[None]:
    """Trace the block as one model call that serves several requests.

    A span has one parent, so each request gets a child span of its own with the same start and end. Its trace then
    shows how long the request waited and how long the model took. The child spans are linked to the first one.

    Args:
        spans: spans of the sampled requests.
        version: the model's version.
        rows: rows of all requests in the call.
    """
    started = time_ns()
    outcome = "failed"
    try:
        yield
        outcome = "answered"
    finally:
        first: Span | None = None
        for span in spans:
            values: dict[str, Value] = {"model.version": version, "model.rows": rows, "model.outcome": outcome}
            child = span.child(NAME, started, first, values)
            first = first or child
