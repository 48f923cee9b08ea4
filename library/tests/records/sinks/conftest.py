"""A receiver of the Forward protocol in a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECEIVER = Path(__file__).with_name("forward_receiver.py")


class Receiver:
    """A process that receives; it can be killed and started again at the same port, with the same store."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> "Receiver":
        command = [sys.executable, str(RECEIVER), str(self.store), "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        return self

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def events(self) -> list[dict[str, Any]]:
        """All that it has taken; a line that a kill has cut does not count, as nothing was acknowledged for it."""
        text = self.store.read_text() if self.store.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    one = Receiver(tmp_path / "received.jsonl")
    yield one
    one.kill()
