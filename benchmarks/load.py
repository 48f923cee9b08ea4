"""The load: wrk for single rows, a plain loop for bulk bodies, and a check that the answers are right."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import HERE, BenchError, run
from benchmarks.process import HOST, LOAD_CORE, Running, memory_mib, post
from benchmarks.systems import ARROW, JSON, PARQUET, Row, System

CONNECTIONS = (1, 16, 64)
CHECKED, AT_ONCE = 20, 10
"""So many rows are checked, so many of them asked for at the same time: batching must not mix them up."""
BULK_FILES = {JSON: "bulk.json", ARROW: "bulk.arrow", PARQUET: "bulk.parquet"}
BULK_NAMES = {JSON: "json", ARROW: "arrow", PARQUET: "parquet"}


@dataclass(frozen=True)
class Cell:
    """One measurement of single rows."""

    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    non_2xx: int
    broken: int
    """Connections that failed, and requests that were not answered within wrk's time."""

    @property
    def valid(self) -> bool:
        """Whether every request was answered, and well."""
        return self.requests > 0 and not self.non_2xx and not self.broken


@dataclass(frozen=True)
class Task:
    """What is asked of every system that serves a model."""

    rows: list[Row]
    answers: list[str | None]
    """The right classes; None where the model is too unsure to check."""
    folder: Path
    """With the bulk bodies."""

    @classmethod
    def read(cls, folder: Path) -> "Task":
        """What `fit.py` wrote."""
        rows, answers = (json.loads((folder / name).read_text()) for name in ("rows.json", "answers.json"))
        return cls(rows, answers, folder)

    def write_bodies(self, system: System, file: Path) -> Path:
        """The bodies of one system, one in a line."""
        file.write_text("".join(json.dumps(system.body(row), separators=(",", ":")) + "\n" for row in self.rows))
        return file


def check(system: System, running: Running, task: Task) -> None:
    """See that a system answers as the pipeline does.

    Raises:
        BenchError: it does not, or fails.
    """
    pairs = [(row, label) for row, label in zip(task.rows, task.answers, strict=True) if label][:CHECKED]
    labels = {label for _, label in pairs}
    if len(pairs) < CHECKED or len(labels) < 2:
        raise BenchError(f"only {len(pairs)} rows of the classes {labels} to check with")

    def ask(row: Row) -> list[str]:
        answer = post(running.port, system.path, json.dumps(system.body(row)).encode(), JSON)
        if answer.status != 200:
            raise BenchError(f"answers {answer.status}: {answer.content[:300].decode(errors='replace')}")
        return system.labels(json.loads(answer.content)) if system.labels else []

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answered = list(pool.map(ask, [row for row, _ in pairs]))
    if system.labels:
        wrong = [index for index, (_, label) in enumerate(pairs) if answered[index] != [label]]
        if wrong:
            first = f"row {wrong[0]}: {answered[wrong[0]]} instead of {pairs[wrong[0]][1]!r}"
            raise BenchError(f"{len(wrong)} of {CHECKED} rows are answered wrongly; {first}")


def measure(system: System, running: Running, bodies: Path, connections: int, seconds: float) -> Cell:
    """Post single rows for so many seconds.

    Raises:
        BenchError: wrk failed.
    """
    url = f"http://{HOST}:{running.port}{system.path}"
    options = [f"-t1 -c{connections} -d{max(1, round(seconds))}s --timeout 30s".split(), ["-s", str(HERE / "post.lua")]]
    command = ["taskset", "-c", str(LOAD_CORE), wrk(), *options[0], *options[1], url, "--", str(bodies)]
    said = json.loads(run(command).strip().splitlines()[-1])
    rate = said["requests"] / said["seconds"]
    counts = {name: int(said[name]) for name in ("requests", "non_2xx", "broken")}
    return Cell(connections, rate, said["p50_ms"], said["p99_ms"], **counts)


def long_enough(seconds: float, connections: int, rate: float) -> float:
    """Up to three times longer for slow systems: requests under way at the end count for nobody."""
    return max(seconds, min(3 * seconds, 10 * connections / max(rate, 1)))


def measure_bulk(system: System, running: Running, task: Task, seconds: float) -> dict[str, float | str]:
    """Rows a second of each bulk form that a system takes; in words why not, where it does not answer."""
    if system.bulk_path is None:
        return {}
    rates: dict[str, float | str] = {}
    for form in system.bulk_forms:
        content = (task.folder / BULK_FILES[form]).read_bytes()
        if form == JSON:
            content = json.dumps(system.bulk_body(json.loads(content)), separators=(",", ":")).encode()
        rates[BULK_NAMES[form]] = _bulk(running.port, system.bulk_path, content, form, seconds)
    return rates


def _bulk(port: int, path: str, content: bytes, form: str, seconds: float) -> float | str:
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < deadline:
        began = time.perf_counter()
        try:
            answer = post(port, path, content, form, accept=form)
        except OSError as error:
            return f"not answered: {error}"
        if answer.status != 200:
            return f"answers {answer.status}"
        times.append(time.perf_counter() - began)
    return 10_000 / median(times)


def memory(running: Running) -> float:
    """Memory of a server's whole process tree, in MiB."""
    return memory_mib(running.pid)


def wrk() -> str:
    """The path of wrk.

    Raises:
        BenchError: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("wrk, the load generator, is not installed: apt-get install wrk")
    return found


def as_json(cell: Cell) -> dict[str, Any]:
    """A cell for the JSON file."""
    return {**cell.__dict__, "valid": cell.valid}
