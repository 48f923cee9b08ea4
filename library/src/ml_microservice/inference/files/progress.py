"""How far a run over files is."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ml_microservice.inference.files.parts import Part


@dataclass(frozen=True)
class RunProgress:
    """How far a run is."""

    rows: int
    """Done in this run."""
    units: int
    """Bytes or rows, of `total`; those of an earlier run too."""
    total: int


class Tally:
    """Counts parts that are done.

    Args:
        total: of bytes or rows.
        tell: told of the progress after each part.
    """

    def __init__(self, total: int, tell: Callable[[RunProgress], None]) -> None:
        self._now = RunProgress(0, 0, total)
        self._tell = tell
        self.taken_up = 0
        """Rows that an earlier run had done."""

    def add(self, part: Part, rows: int, *, is_new: bool = True) -> None:
        """Count a part, done in this run or in an earlier one."""
        if not is_new:
            self.taken_up += rows
        done = self._now.rows + (rows if is_new else 0)
        self._now = replace(self._now, rows=done, units=self._now.units + part.units)
        self._tell(self._now)
