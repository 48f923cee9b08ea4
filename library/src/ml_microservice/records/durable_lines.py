"""Files of lines that grow only at their end: durable appending, reading and counting."""

import os
from pathlib import Path


def append_durably(path: Path, data: bytes) -> None:
    """Append lines and sync the file. If the file ends in a torn line, the new lines start on a line of their own.

    Raises:
        OSError: the lines may not be on disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        end = file.tell()
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[bytes]:
    """The complete lines of a file, without newlines; empty if there is no file."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


class LineCounter:
    """Counts the lines of files. A file that has grown is read from where the last count ended."""

    def __init__(self) -> None:
        self._counted: dict[Path, tuple[int, int, int]] = {}

    def count(self, path: Path) -> int:
        """The number of lines in a file; 0 if there is no file."""
        try:
            with path.open("rb", buffering=0) as file:
                state = os.fstat(file.fileno())
                inode, size, lines = self._counted.get(path, (0, 0, 0))
                if inode != state.st_ino or state.st_size < size:
                    size = lines = 0
                file.seek(size)
                while data := file.read(2**20):
                    size += len(data)
                    lines += data.count(b"\n")
        except FileNotFoundError:
            return 0
        self._counted[path] = (state.st_ino, size, lines)
        return lines
