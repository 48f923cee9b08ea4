"""A folder that carries messages, for machines without a broker: Kombu's file-system transport without its races.

Kombu's own transport lets a consumer read a file that is not written yet, lists the whole folder for every message, and
does not mark redelivered messages. The messages of a killed worker are lost, so the sweeper sends them again.
"""

import fcntl
import os
from collections import deque
from queue import Empty
from time import time_ns
from typing import Any
from uuid import uuid4

from kombu.transport import filesystem
from kombu.transport.virtual import Message
from kombu.utils.json import dumps, loads

UNFINISHED = ".new"


class Channel(filesystem.Channel):  # type: ignore[misc]
    """Stores each message in a file. The files' names sort by time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen: dict[str, deque[str]] = {}
        """Names of files found by the last listing, by queue."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        path = os.path.join(self.data_folder_out, f"{time_ns():020d}_{uuid4().hex}.{queue}.msg")
        with open(path + UNFINISHED, "w") as file:
            file.write(dumps(payload))
        os.rename(path + UNFINISHED, path)

    def _get(self, queue: str) -> Any:
        seen = self._seen.setdefault(queue, deque())
        if not seen:
            seen.extend(sorted(self._names(queue)))
        while seen:
            payload = _take(os.path.join(self.data_folder_in, seen.popleft()))
            if payload is not None:
                return loads(payload)
        raise Empty

    def _names(self, queue: str) -> list[str]:
        return [name for name in os.listdir(self.data_folder_in) if name.partition(".")[2] == f"{queue}.msg"]

    def _restore(self, message: Message) -> None:
        message.properties["delivery_info"]["redelivered"] = True
        super()._restore(message)


def _take(path: str) -> str | None:
    """Read and delete a message's file; None if another process took it."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink == 0:
                return None
            content = file.read()
            os.unlink(path)
            return content
    except (FileNotFoundError, BlockingIOError):
        return None


class Transport(filesystem.Transport):  # type: ignore[misc]
    """Kombu's entry point to this transport."""

    Channel = Channel
