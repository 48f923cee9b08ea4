"""Segments as a service writes them, and sinks that do what a test says."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from ml_microservice.records.record import FeedbackRecord, Record, call_start, feedback_line, prediction_line
from ml_microservice.records.segment import Segment, prepare_folder
from ml_microservice.records.sinks.sink import Refused, SinkDown


class Writer:
    """Writes segments into a folder of records, as the processes of a service do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ids: list[str] = []
        """Of all records written, in order."""
        self._numbers = count()

    def begin(self, project: str = "houses") -> Segment:
        """A segment that is being written."""
        return Segment.create(prepare_folder(self.directory), project)

    def line(self, rows: int = 1) -> bytes:
        """A line of predictions."""
        ids = [f"p{next(self._numbers):07}" for _ in range(rows)]
        self.ids += ids
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        call = call_start("v1", "m1", "predict") + b'"time":"%b","latency_ms":0.5,' % time.encode()
        return prediction_line(
            call,
            ids=ids,
            entity_ids=None,
            inputs={"size": [1.5] * rows},
            predictions=["yes"] * rows,
            probabilities={"yes": [0.9] * rows},
        )

    def feedback(self) -> bytes:
        """A line of feedback."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        name = f"f{next(self._numbers):07}"
        self.ids.append(name)
        return feedback_line([FeedbackRecord(name, "p0", "yes", None, None, time)])

    def write(self, lines: int, rows: int = 1) -> Path:
        """A closed segment of so many lines."""
        segment = self.begin()
        for _ in range(lines):
            segment.append(self.line(rows))
        segment.close()
        return segment.path

    @property
    def segments(self) -> list[str]:
        """Names of the segments that are there."""
        return sorted(path.name for path in (self.directory / "segments").iterdir())


class ListSink:
    """Keeps what it is sent; a test says what else it does."""

    def __init__(self, name: str = "list", before: Callable[[Sequence[Record]], None] = lambda records: None) -> None:
        self.name = name
        self.ids: list[str] = []
        self.sizes: list[int] = []
        self.tries = 0
        self.refused: set[str] = set()
        self.is_down = threading.Event()
        self._before = before

    def send(self, records: Sequence[Record]) -> None:
        """Keep records, unless they are refused or the sink is down."""
        self.tries += 1
        if self.is_down.is_set():
            raise SinkDown("nobody answers")
        self._before(records)
        reasons = {row: "not this one" for row, record in enumerate(records) if record.id in self.refused}
        self.ids += [record.id for row, record in enumerate(records) if row not in reasons]
        self.sizes.append(len(records))
        if reasons:
            raise Refused(reasons)

    def close(self) -> None:
        """There is nothing to let go of."""


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A writer of segments of a project called houses."""
    return Writer(tmp_path / "records")


@pytest.fixture
def list_sink() -> type[ListSink]:
    """Makes sinks."""
    return ListSink
