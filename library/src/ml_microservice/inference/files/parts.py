"""The parts that files are cut into: always the same ones of the same files, so that a run can resume another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from ml_microservice.errors import Fault, InputFileError
from ml_microservice.inference.files.formats import arrow
from ml_microservice.inference.files.places import place
from ml_microservice.inference.files.sources import Source

MAX_LINE = 64 * 2**20


@dataclass(frozen=True)
class PartSize:
    """How large parts are."""

    bytes: int = 8 * 2**20
    """About how much text a part has; it is read into memory as a whole."""
    rows: int = 100_000
    """Least rows of a part of row groups or record batches, but for the last one."""


USUAL_SIZE = PartSize()


@dataclass(frozen=True)
class Part:
    """Some rows of one file, predicted by one process as one unit of work."""

    index: int
    """Position among the parts of all files."""
    source: Source
    start: int
    """First byte of text, row group of Parquet, or record batch of an Arrow file."""
    stop: int
    """The one after the last."""
    units: int
    """Bytes or rows in the part, for the progress."""


def parts(sources: list[Source], size: PartSize, stops: Mapping[int, int]) -> Iterator[Part]:
    """All parts of the files, in order.

    Args:
        sources: the files.
        size: of a part.
        stops: where finished parts end, by index, so that they need not be cut again.
    """
    index = 0
    for source in sources:
        for start, stop, units in _cuts(source, size, index, stops):
            yield Part(index, source, start, stop, units)
            index += 1


def measure(sources: list[Source], size: PartSize) -> tuple[int, int]:
    """About how many parts there are, and how many bytes or rows in all of them."""
    if sources[0].format in ("csv", "jsonl"):
        lengths = [source.size - source.start for source in sources]
        return sum(-(-length // size.bytes) for length in lengths), sum(lengths)
    units = [part.units for part in parts(sources, size, {})]
    return len(units), sum(units)


def _cuts(source: Source, size: PartSize, index: int, stops: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """Start, stop and units of each part of one file."""
    if source.format in ("csv", "jsonl"):
        start = source.start
        with place(source.url).open() as file:
            while start < source.size:
                stop = stops.get(index) or _line_end(file, start, source, size.bytes)
                yield start, stop, stop - start
                start, index = stop, index + 1
    elif source.format == "arrow" and source.is_stream:
        yield 0, 0, source.size
    else:
        yield from _grouped(_group_rows(source), size.rows)


def _line_end(file: IO[bytes], start: int, source: Source, full: int) -> int:
    """The end of the line in which a part has `full` bytes; a line break within quotes ends no line."""
    stop = min(start + full, source.size)
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
            metadata = pa.parquet.ParquetFile(file).metadata
            return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        options = pa.ipc.IpcReadOptions(included_fields=[0])
        batches = pa.ipc.open_file(file, options=options)
        return [batches.get_batch(i).num_rows for i in range(batches.num_record_batches)]


def _grouped(rows: list[int], least: int) -> Iterator[tuple[int, int, int]]:
    """Parts of whole groups with at least some rows each."""
    start = units = 0
    for stop, count in enumerate(rows, 1):
        units += count
        if units >= least or stop == len(rows):
            if units:
                yield start, stop, units
            start, units = stop, 0
