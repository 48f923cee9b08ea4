"""Writers of answers as Arrow streams, Arrow files and Parquet: a record batch per slice, provenance as metadata."""

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.answer_writers import Heading, probability_columns, table_columns


class ArrowWriter:
    """Writes record batches through one of Arrow's own writers.

    Args:
        heading: what all answers share.
        open_writer: opens Arrow's writer for a sink and a schema.
    """

    def __init__(self, heading: Heading, open_writer: Callable[[Any, Any], Any]) -> None:
        self._heading = heading
        self._sink = _Drain()
        self._schema = schema_of(heading)
        self._writer = open_writer(self._sink, self._schema)

    def write(self, answers: AnswerTable) -> bytes:
        """See `Writer`."""
        columns = table_columns(answers, self._heading)
        if self._heading.id_name is not None and self._heading.has_text_ids:
            ids = columns[self._heading.id_name]
            columns[self._heading.id_name] = [None if value is None else str(value) for value in ids]
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        return self._sink.drain()

    def end(self) -> bytes:
        """See `Writer`."""
        self._writer.close()
        return self._sink.drain()


def stream_writer(heading: Heading) -> ArrowWriter:
    """The writer of an Arrow IPC stream."""
    return ArrowWriter(heading, pa.ipc.new_stream)


def file_writer(heading: Heading) -> ArrowWriter:
    """The writer of an Arrow IPC file."""
    return ArrowWriter(heading, pa.ipc.new_file)


def parquet_writer(heading: Heading) -> ArrowWriter:
    """The writer of a Parquet file."""
    return ArrowWriter(heading, pq.ParquetWriter)


def schema_of(heading: Heading) -> Any:
    """The columns of the answers, the same for every slice."""
    prediction = pa.string() if heading.classes else pa.float64()
    fields = [("prediction", prediction), *((name, pa.float64()) for name in probability_columns(heading.classes))]
    fields += [("prediction_id", pa.string()), ("error", pa.string())]
    if heading.has_logged:
        fields.append(("logged", pa.bool_()))
    if heading.id_name is not None:
        fields.append((heading.id_name, pa.string() if heading.has_text_ids else pa.int64()))
    return pa.schema(fields, metadata=dict(heading.provenance))


class _Drain(io.RawIOBase):
    """A file to write to, whose content can be drained at any time."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
