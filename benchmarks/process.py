"""A server as a process: pinned to its core, timed until it answers, weighed, and ended with all that it started."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import BenchError

HOST = "127.0.0.1"
SERVER_CORE, LOAD_CORE = 0, 1
START_SECONDS, STOP_SECONDS = 150, 20
REFUSED, REFUSED_SECONDS = {404, 405, 415, 422}, 15
"""A server that is up, and still says so after so many seconds, will not take the request later either."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    content: bytes


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    port: int
    cold_start_s: float
    """From its start to its first 200."""


def post(port: int, path: str, body: bytes, content_type: str, timeout: float = 60, accept: str = "*/*") -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type, "Accept": accept})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


@contextmanager
def serving(
    command: list[str], *, port: int, path: str, body: bytes, cwd: Path, env: dict[str, str], log: Path
) -> Iterator[Running]:
    """Start a server on its core and wait for its first answer; end it afterwards.

    Raises:
        BenchError: it ended by itself, or did not answer in time; with the end of its log.
    """
    began = time.perf_counter()
    with started(command, cwd=cwd, env=env, log=log) as process:
        _wait(process, port, path, body, log)
        yield Running(process.pid, port, time.perf_counter() - began)


@contextmanager
def started(command: list[str], *, cwd: Path, env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start something on the servers' core, and end it afterwards with all that it started."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            cwd=cwd,
            env={**os.environ, **env},
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def wait_for(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    """Wait until it is ready.

    Raises:
        BenchError: it ended by itself, or is not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise BenchError(f"ended with exit code {process.returncode}\n{_end_of(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"not ready within {START_SECONDS} s\n{_end_of(log)}")
        time.sleep(0.05)


def memory_mib(pid: int) -> float:
    """Proportional set size of a process and all its descendants: shared pages are counted once."""
    total = 0
    for member in tree(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with suppress(OSError):
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def free_ports() -> int:
    """The first of three ports in a row that are free."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            first = int(probe.getsockname()[1])
        if first < 60_000 and all(_is_free(first + offset) for offset in range(3)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _wait(process: "subprocess.Popen[bytes]", port: int, path: str, body: bytes, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    last, refused_since = "no connection", None
    while process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            answer = post(port, path, body, "application/json", timeout=10)
            if answer.status == 200:
                return
            last = f"{answer.status} {answer.content[:300].decode(errors='replace')}"
            refused_since = (refused_since or time.monotonic()) if answer.status in REFUSED else None
        if refused_since is not None and time.monotonic() > refused_since + REFUSED_SECONDS:
            raise BenchError(f"refuses the request: {last}")
        if time.monotonic() > deadline:
            raise BenchError(f"did not answer within {START_SECONDS} s; last: {last}\n{_end_of(log)}")
        time.sleep(0.01)
    raise BenchError(f"ended with exit code {process.returncode}\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:].strip()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask all of the tree to end, then make it; only what this process started is touched."""
    members = tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = [member for member in members if _is_alive(member)]
        for member in left:
            with suppress(ProcessLookupError):
                os.kill(member, number)
        if left:
            time.sleep(0.5)
    process.wait()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
