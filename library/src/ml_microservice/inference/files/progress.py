"""The progress of a run over files."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ml_microservice.inference.files.parts import Part


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run."""

    rows: int
    """Rows predicted in this run."""
    units: int
    """Finished bytes or rows out of `total`, including those of an earlier run."""
    total: int


class Tally:
    """Counts finished parts.

    Args:
        total: number of bytes or rows.
        notify: takes the progress after each part.
    """

    def __init__(self, total: int, notify: Callable[[RunProgress], None]) -> None:
        self._now = RunProgress(0, 0, total)
        self._notify = notify
        self.taken_up = 0
        """Rows that an earlier run had predicted."""

    def add(self, part: Part, rows: int, *, is_new: bool = True) -> None:
        """Count a part that this run or an earlier one has finished."""
        if not is_new:
            self.taken_up += rows
        done = self._now.rows + (rows if is_new else 0)
        self._now = replace(self._now, rows=done, units=self._now.units + part.units)
        self._notify(self._now)
