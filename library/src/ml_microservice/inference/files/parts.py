"""Cutting files into parts: the same files are always cut alike, so that a run can go on where another one ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from ml_microservice.errors import Fault, InputFileError
from ml_microservice.inference.files.formats import arrow
from ml_microservice.inference.files.places import place
from ml_microservice.inference.files.sources import Source

PART_BYTES = 8 * 2**20
"""Text in a part, about; a part is read into memory as a whole."""
PART_ROWS = 100_000
"""Rows in a part of whole row groups or record batches, at least."""
MAX_LINE = 64 * 2**20


@dataclass(frozen=True)
class Part:
    """Some rows of one file that are predicted together, in one piece of work."""

    index: int
    """Among the parts of all files."""
    source: Source
    start: int
    """Bytes in text, row groups in Parquet, record batches in Arrow files."""
    stop: int
    units: int
    """Bytes or rows, for the progress."""


def parts(sources: list[Source], stops: Mapping[int, int]) -> Iterator[Part]:
    """All parts of the files, in order.

    Args:
        sources: the files.
        stops: where parts end that are done, by index: they need not be cut again.
    """
    index = 0
    for source in sources:
        for start, stop, units in _cuts(source, index, stops):
            yield Part(index, source, start, stop, units)
            index += 1


def measure(sources: list[Source]) -> tuple[int, int]:
    """About how many parts there are, and how many bytes or rows in all of them."""
    if sources[0].format in ("csv", "jsonl"):
        sizes = [source.size - source.start for source in sources]
        return sum(-(-size // PART_BYTES) for size in sizes), sum(sizes)
    units = [part.units for part in parts(sources, {})]
    return len(units), sum(units)


def _cuts(source: Source, index: int, stops: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    if source.format in ("csv", "jsonl"):
        start, size = source.start, source.size
        with place(source.url).open() as file:
            while start < size:
                stop = stops.get(index) or _line_end(file, start, source)
                yield start, stop, stop - start
                start, index = stop, index + 1
    elif source.format == "arrow" and source.is_stream:
        yield 0, 0, source.size
    else:
        yield from _grouped(_group_rows(source))


def _line_end(file: IO[bytes], start: int, source: Source) -> int:
    """The end of the line in which a part is full; line ends within quotes are none."""
    stop = min(start + PART_BYTES, source.size)
    file.seek(start if source.format == "csv" else max(stop - 1, start))
    quotes = file.read(stop - start - 1).count(b'"') if source.format == "csv" else 0
    while True:
        line = file.readline(MAX_LINE)
        quotes += line.count(b'"')
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            message = f"a line near byte {stop} has more than {MAX_LINE} bytes"
            raise InputFileError(Fault(message, source.url, advice="is a quote missing, or is it another format?"))
        if not line or source.format != "csv" or quotes % 2 == 0:
            return file.tell()


def _group_rows(source: Source) -> list[int]:
    """Rows in each row group or record batch."""
    pa = arrow()
    with place(source.url).open() as file:
        if source.format == "parquet":
            import pyarrow.parquet as pq

            metadata = pq.ParquetFile(file).metadata
            return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        options = pa.ipc.IpcReadOptions(included_fields=[0])
        batches = pa.ipc.open_file(file, options=options)
        return [batches.get_batch(i).num_rows for i in range(batches.num_record_batches)]


def _grouped(rows: list[int]) -> Iterator[tuple[int, int, int]]:
    start = units = 0
    for stop, count in enumerate(rows, 1):
        units += count
        if units >= PART_ROWS or stop == len(rows):
            if units:
                yield start, stop, units
            start, units = stop, 0
