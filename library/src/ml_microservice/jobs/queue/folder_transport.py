"""A folder that carries messages, for a machine without a broker: Celery's own such transport, without its races.

That one lets readers take a file whose writer has not written it yet, reads the whole folder for every message, and
forgets to say that a message comes once more. A worker that is killed takes its messages with it: the sweeper sends
them again.
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
    """One file for each message; names sort by time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen: dict[str, deque[str]] = {}
        """Names of files that were there at the last look, by queue."""

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
            payload = _taken(os.path.join(self.data_folder_in, seen.popleft()))
            if payload is not None:
                return loads(payload)
        raise Empty

    def _names(self, queue: str) -> list[str]:
        return [name for name in os.listdir(self.data_folder_in) if name.partition(".")[2] == f"{queue}.msg"]

    def _restore(self, message: Message) -> None:
        message.properties["delivery_info"]["redelivered"] = True
        super()._restore(message)


def _taken(path: str) -> str | None:
    """The content of a message, which is nobody else's then; None if it is somebody else's."""
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
    """The transport, for Kombu."""

    Channel = Channel
