"""Responses to bulk requests, made one slice of rows at a time, so that single rows are answered in between."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.answer_writers import Heading, Writer
from ml_microservice.inference.rows import Rows
from ml_microservice.inference.served_model import ServedModel

SLICE_ROWS = 2_000
"""Rows that one call of the model predicts; the answers to more rows are streamed."""


@dataclass(frozen=True)
class BulkResponse:
    """The response to a bulk request."""

    media_type: str
    provenance: dict[str, str]
    """The model that answers, and the time."""
    rows: int
    content: AsyncIterator[bytes]
    """The body, computed while it is read."""

    @property
    def is_streamed(self) -> bool:
        """Whether the body comes in several slices."""
        return self.rows > SLICE_ROWS

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([content async for content in self.content])


def heading_of(served: ServedModel, rows: Rows, provenance: dict[str, str], *, has_logged: bool) -> Heading:
    """The heading of the answers to some rows."""
    sent = [entity_id for entity_id in rows.entity_ids if entity_id is not None]
    has_text = any(isinstance(entity_id, str) for entity_id in sent)
    return Heading(served.schema.classes, served.id_name if sent else None, has_text, provenance, has_logged)


async def write_answers(
    rows: Rows,
    answer: Callable[[Rows], AnswerTable],
    writer: Writer,
    run: Callable[[Callable[[], bytes | None]], Awaitable[bytes | None]],
) -> AsyncIterator[bytes]:
    """Answer rows slice by slice, and write the answers.

    Args:
        rows: to answer.
        answer: answers a slice.
        writer: of the format.
        run: runs each step beside the event loop.
    """

    def written() -> Iterator[bytes]:
        for rows_of_slice in rows.slices(SLICE_ROWS):
            yield writer.write(answer(rows_of_slice))
        yield writer.end()

    steps = written()
    while (content := await run(lambda: next(steps, None))) is not None:
        if content:
            yield content
