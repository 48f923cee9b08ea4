"""Lines of segments that cannot be parsed as records. They are kept for people to look at."""

import threading
from pathlib import Path

import orjson

from ml_microservice.records.durable_lines import append_durably, read_lines


class Quarantine:
    """Stores each unreadable line once, even if several sinks come across it."""

    def __init__(self, directory: Path) -> None:
        self._folder = quarantine_folder(directory)
        self._lock = threading.Lock()
        self._known: dict[str, set[int]] = {}

    def add(self, segment: str, offset: int, line: bytes, reason: str) -> bool:
        """Store a line durably; returns False if it was stored before.

        Raises:
            OSError: the line could not be stored.
        """
        path = self._folder / segment
        with self._lock:
            known = self._known.get(segment)
            if known is None:
                known = self._known[segment] = {_offset(entry) for entry in read_lines(path)}
            if offset in known:
                return False
            text = line.decode("utf-8", "backslashreplace")
            entry = {"segment": segment, "offset": offset, "reason": reason, "line": text}
            append_durably(path, orjson.dumps(entry) + b"\n")
            known.add(offset)
            return True


def _offset(entry: bytes) -> int:
    try:
        return int(orjson.loads(entry)["offset"])
    except orjson.JSONDecodeError:  # torn by a power loss
        return -1


def quarantine_folder(directory: Path) -> Path:
    """The folder of quarantined lines: one file for each segment that has some."""
    return directory / "quarantine"
