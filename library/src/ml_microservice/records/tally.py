"""How many records there are in segments, counted once, so that a look at them need not read them again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ml_microservice.records.positions import Mark, marks_in, marks_out, read_json, write_json
from ml_microservice.records.reading import SegmentFile, count_records

UNCOUNTED_BYTES = 2**16
"""So much of a segment may be left uncounted: whoever looks counts that in a millisecond."""
BYTES_AT_ONCE = 2**24
"""Counted before the shipper looks after something else."""


class Tally:
    """Counts ahead of the sinks, where they are behind, in the file `tally.json`."""

    def __init__(self, directory: Path) -> None:
        self._file = tally_file(directory)
        self._marks = load_tally(directory)
        self._torn = torn_bytes(directory)

    def count(self, segments: Sequence[SegmentFile], sinks: Sequence[Mapping[str, Mark]]) -> None:
        """Count what no sink has taken, a share at a time.

        Raises:
            OSError: the count could not be stored.
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

    def cut(self, size: int) -> None:
        """Count the torn end of a segment.

        Raises:
            OSError: the count could not be stored.
        """
        self._torn += size
        self._save()

    def _save(self) -> None:
        write_json(self._file, {"segments": marks_out(self._marks), "torn_bytes": self._torn})


def tally_file(directory: Path) -> Path:
    """Where the count is kept."""
    return directory / "tally.json"


def load_tally(directory: Path) -> dict[str, Mark]:
    """Up to where segments are counted."""
    with suppress(KeyError, TypeError):
        return marks_in(read_json(tally_file(directory)))
    return {}


def torn_bytes(directory: Path) -> int:
    """How many bytes of torn ends were left out."""
    return int(read_json(tally_file(directory)).get("torn_bytes", 0))


def furthest(segment: SegmentFile, marks: Sequence[Mapping[str, Mark]]) -> Mark:
    """The last place in a segment up to which somebody has counted."""
    return max((segment.mark(each) for each in marks), key=lambda mark: mark.offset)
