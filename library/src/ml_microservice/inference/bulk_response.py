"""Answers to bulk requests, made piece by piece, so that single rows are answered in between."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.answer_writers import Heading, Writer
from ml_microservice.inference.bulk_formats import BulkFormat
from ml_microservice.inference.rows import Rows
from ml_microservice.inference.served_model import ServedModel

SLICE_ROWS = 2_000
"""Rows that are predicted together; an answer of more is sent as it is made."""


@dataclass(frozen=True)
class BulkResponse:
    """The answer to a bulk request."""

    media_type: str
    provenance: dict[str, str]
    """Which model answers, and when."""
    rows: int
    chunks: AsyncIterator[bytes]
    """The body, made while it is read."""

    @property
    def is_streamed(self) -> bool:
        """Whether the body comes in several pieces."""
        return self.rows > SLICE_ROWS

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks])


def heading_of(served: ServedModel, rows: Rows, provenance: dict[str, str], *, has_logged: bool) -> Heading:
    """What the answers to the rows share."""
    sent = [entity_id for entity_id in rows.entity_ids if entity_id is not None]
    has_text = any(isinstance(entity_id, str) for entity_id in sent)
    return Heading(served.schema.classes, served.id_name if sent else None, has_text, provenance, has_logged)


async def written(
    rows: Rows,
    answer: Callable[[Rows], AnswerTable],
    format: BulkFormat,
    heading: Heading,
    run: Callable[[Callable[[], bytes | None]], Awaitable[bytes | None]],
) -> AsyncIterator[bytes]:
    """The answers to rows in a format; every piece is one call that `run` makes beside the event loop."""
    steps: Iterator[bytes] = _written(rows.slices(SLICE_ROWS), answer, format.writer(heading))
    while (chunk := await run(lambda: next(steps, None))) is not None:
        if chunk:
            yield chunk


def _written(pieces: Iterable[Rows], answer: Callable[[Rows], AnswerTable], writer: Writer) -> Iterator[bytes]:
    for piece in pieces:
        yield writer.write(answer(piece))
    yield writer.end()
