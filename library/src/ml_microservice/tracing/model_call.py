"""Calls of the model as spans within those that they were made for."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns

from ml_microservice.tracing.current_span import CURRENT, Span, Value

NAME = "model"


def model_call(version: str, rows: int) -> AbstractContextManager[None]:
    """The block is a call of the model for the current span."""
    span = CURRENT.get()
    return nullcontext() if span is None else shared_model_call([span], version, rows)


@contextmanager
def shared_model_call(spans: Sequence[Span], version: str, rows: int) -> Iterator[None]:
    """The block is one call of the model for several requests.

    A span has one parent, so each request is given a child of its own, with the same start and end: its trace shows how
    long it waited and how long the model took. Those of one call are linked to the first of them, which is what links
    are for: one operation that several traces share.

    Args:
        spans: of those of the requests that are sampled.
        version: of the model.
        rows: in the call, of all requests.
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
