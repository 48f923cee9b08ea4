"""Files that are written completely or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_microservice.errors import Fault, InputFileError


@contextmanager
def written_atomically(target: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces the target when the block ends without an error.

    The folder of the target is created if needed.

    Raises:
        InputFileError: the target's folder cannot be written to.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise InputFileError(Fault(f"cannot be written: {error.strerror}", str(target))) from None
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
