"""The load of jobs: many connections submit, then a few fetch every result, waiting where there is none yet."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.environments import BenchError
from benchmarks.process import HOST

SUBMITTING, FETCHING = 64, 8
"""Connections."""
PAUSE, PAUSE_ALONE = 0.25, 0.005
"""Seconds before an unfinished job is asked for again: among many, and when it is the only one."""
ALONE = 20
"""Jobs that are sent one by one."""
STALLED_SECONDS = 120


@dataclass(frozen=True)
class Shape:
    """How a system takes jobs and hands out results."""

    submit_path: str
    id_of: Callable[[Any], str]
    """In the answer to a submission."""
    result_path: Callable[[str], str]
    label_of: Callable[[Any], str | None]
    """The class in a result; None while there is none."""
    later: tuple[int, ...] = ()
    """Statuses that say that there is no result yet."""


@dataclass(frozen=True)
class Times:
    """What a load measured."""

    jobs: int
    submitted_per_s: float
    finished_per_s: float
    """All results in the client's hands, by the time from the first submission on."""


Answers = Sequence[str | None]
"""The right classes of the bodies; None where the model is too unsure to check."""


def measure(port: int, shape: Shape, bodies: Sequence[bytes], answers: Answers, count: int) -> Times:
    """Submit so many jobs and fetch all their results.

    Raises:
        BenchError: one is refused, wrong, or does not come.
    """
    return asyncio.run(_measure(port, shape, bodies, answers, count))


def measure_alone(port: int, shape: Shape, bodies: Sequence[bytes], answers: Answers) -> float:
    """Median milliseconds from a submission to its result, one job at a time.

    Raises:
        BenchError: as in `measure`.
    """
    return asyncio.run(_measure_alone(port, shape, bodies, answers))


def submit(port: int, shape: Shape, body: bytes) -> str:
    """Submit one job; its id.

    Raises:
        BenchError: it is refused.
    """

    async def ask() -> str:
        connection, ids = await Connection.open(port), [""]
        await _submit(connection, shape, [body], ids, iter([0]))
        connection.close()
        return ids[0]

    return asyncio.run(ask())


def is_done(port: int, shape: Shape, job: str) -> bool:
    """Whether a job has a result.

    Raises:
        BenchError: it never will.
    """

    async def ask() -> bool:
        connection = await Connection.open(port)
        label = await _label(connection, shape, job)
        connection.close()
        return label is not None

    return asyncio.run(ask())


class Connection:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connected."""
        return cls(*await asyncio.open_connection(HOST, port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and content of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head_lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next((int(line[15:]) for line in head_lines if line.startswith(b"content-length:")), None)
        if length is None:
            raise BenchError(f"{path} answers without a length")
        return int(head_lines[0].split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        """Give it up."""
        self._writer.close()


async def _measure(port: int, shape: Shape, bodies: Sequence[bytes], answers: Answers, count: int) -> Times:
    connections = await asyncio.gather(*(Connection.open(port) for _ in range(SUBMITTING)))
    ids = [""] * count
    began = time.perf_counter()
    todo = iter(range(count))
    await asyncio.gather(*(_submit(one, shape, bodies, ids, todo) for one in connections))
    submitted = time.perf_counter() - began
    todo = iter(range(count))
    await asyncio.gather(*(_fetch(one, shape, answers, ids, todo, PAUSE) for one in connections[:FETCHING]))
    finished = time.perf_counter() - began
    for one in connections:
        one.close()
    return Times(count, count / submitted, count / finished)


async def _measure_alone(port: int, shape: Shape, bodies: Sequence[bytes], answers: Answers) -> float:
    connection = await Connection.open(port)
    seconds = []
    for number in range(ALONE):
        ids = [""] * (number + 1)
        began = time.perf_counter()
        await _submit(connection, shape, bodies, ids, iter([number]))
        await _fetch(connection, shape, answers, ids, iter([number]), PAUSE_ALONE)
        seconds.append(time.perf_counter() - began)
    connection.close()
    return median(seconds) * 1000


async def _submit(
    connection: Connection, shape: Shape, bodies: Sequence[bytes], ids: list[str], todo: Iterator[int]
) -> None:
    for number in todo:
        status, content = await connection.ask("POST", shape.submit_path, bodies[number % len(bodies)])
        if status not in (200, 202):
            raise BenchError(f"a job is answered {status}: {content[:300].decode(errors='replace')}")
        ids[number] = shape.id_of(json.loads(content))


async def _fetch(
    connection: Connection, shape: Shape, answers: Answers, ids: Sequence[str], todo: Iterator[int], pause: float
) -> None:
    for number in todo:
        deadline = time.monotonic() + STALLED_SECONDS
        while True:
            label = await _label(connection, shape, ids[number])
            if label is not None:
                break
            if time.monotonic() > deadline:
                raise BenchError(f"a job has no result after {STALLED_SECONDS} s")
            await asyncio.sleep(pause)
        expected = answers[number % len(answers)]
        if expected not in (None, label):
            raise BenchError(f"a job is answered {label} instead of {expected}")


async def _label(connection: Connection, shape: Shape, job: str) -> str | None:
    """The class in the result of a job; None while there is none."""
    status, content = await connection.ask("GET", shape.result_path(job))
    if status in shape.later:
        return None
    if status != 200:
        raise BenchError(f"a result is answered {status}: {content[:300].decode(errors='replace')}")
    return shape.label_of(json.loads(content))
