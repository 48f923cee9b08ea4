"""Counts of the records in segments, stored so that the status can be told without reading segments again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ml_microservice.records.positions import Mark, marks_from_json, marks_to_json, read_json, write_json
from ml_microservice.records.segment_reader import SegmentFile, count_records

UNCOUNTED_BYTES = 2**16
"""Bytes of a segment that may stay uncounted. Reading the status counts them in a millisecond."""
BYTES_AT_ONCE = 2**24
"""Bytes counted in one call, before the shipper does other work."""


class RecordCounts:
    """Counts records that no sink has taken yet, and stores the counts in `tally.json`."""

    def __init__(self, directory: Path) -> None:
        self._file = counts_file(directory)
        self._marks = load_counts(directory)
        self._torn = torn_bytes(directory)

    def update(self, segments: Sequence[SegmentFile], sinks: Sequence[Mapping[str, Mark]]) -> None:
        """Count on from where the sinks are, at most `BYTES_AT_ONCE`.

        Raises:
            OSError: the counts could not be stored.
        """
        before = self._marks
        room = BYTES_AT_ONCE
        counted = {}
        for segment in segments:
            mark = furthest(segment, [*sinks, before])
            if room > 0 and segment.size - mark.offset > UNCOUNTED_BYTES:
                start = mark.offset
                mark = count_records(segment, mark, room)
                room -= mark.offset - start
            if mark.records:
                counted[segment.name] = mark
        if counted.keys() != before.keys() or any(
            mark.offset - before[name].offset > UNCOUNTED_BYTES for name, mark in counted.items()
        ):
            self._marks = counted
            self._save()

    def add_torn_bytes(self, size: int) -> None:
        """Count the torn end of a segment.

        Raises:
            OSError: the counts could not be stored.
        """
        self._torn += size
        self._save()

    def _save(self) -> None:
        write_json(self._file, {"segments": marks_to_json(self._marks), "torn_bytes": self._torn})


def counts_file(directory: Path) -> Path:
    """The file that holds the counts."""
    return directory / "tally.json"


def load_counts(directory: Path) -> dict[str, Mark]:
    """The stored counts: how many records each segment has, up to which offset."""
    with suppress(KeyError, TypeError):
        return marks_from_json(read_json(counts_file(directory)))
    return {}


def torn_bytes(directory: Path) -> int:
    """Bytes of torn segment ends that were skipped."""
    return int(read_json(counts_file(directory)).get("torn_bytes", 0))


def furthest(segment: SegmentFile, marks: Sequence[Mapping[str, Mark]]) -> Mark:
    """The last mark in a segment."""
    return max((segment.mark(each) for each in marks), key=lambda mark: mark.offset)
