"""Files: rows a second of `ml-service predict`, of the pipeline on chunks of pandas, and of MLflow."""

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.environments import OURS, PLAIN, SERVERS, WORK, BenchError, Fitted, python_of, run
from benchmarks.systems import Launch, save_mlflow

FORMATS = ("csv", "parquet")
CHECKED = 1_000
"""Rows at the start of a result whose classes have to be those of the reference; and of the file to warm up with."""


@dataclass(frozen=True)
class FileSystem:
    """One way to predict a file."""

    name: str
    title: str
    environment: str
    needs: str
    """The system of the tables of servers with which it is measured."""
    command: Callable[[Launch, Path, Path], list[str]]
    cores: int = 1


def _ours(workers: int) -> Callable[[Launch, Path, Path], list[str]]:
    def command(launch: Launch, source: Path, target: Path) -> list[str]:
        options = ["--output", str(target), "--workers", str(workers)]
        return [str(launch.bin / "python"), "-m", "ml_microservice.cli", "predict", str(source), *options]

    return command


def _frames(what: str) -> Callable[[Launch, Path, Path], list[str]]:
    script = str(SERVERS / "predict_file.py")
    return lambda launch, source, target: [str(launch.bin / "python"), script, what, str(source), str(target)]


CORES = os.cpu_count() or 1
FILE_SYSTEMS = (
    FileSystem("ours_1", "**ours**, one process", OURS, "ours", _ours(1)),
    FileSystem(
        "ours", "**ours**, a process for each core", OURS, "ours", _ours(os.cpu_count() or 1), os.cpu_count() or 1
    ),
    FileSystem("pandas", "pipeline on chunks of pandas", PLAIN, "naive", _frames("pandas")),
    FileSystem("mlflow", "MLflow, Python function on chunks", "mlflow", "mlflow", _frames("mlflow")),
)


@dataclass
class FileRun:
    """One way with one model and one format in one round."""

    round: int
    model: str
    format: str
    system: str
    rows: int
    rows_per_s: float | None = None
    memory_mib: float | None = None
    """Most that its largest process held."""
    error: str | None = None


def measure(
    model: str, project: Path, fitted: Mapping[tuple[str, str], Fitted], names: Sequence[str], rows: int, turn: int
) -> list[FileRun]:
    """Predict a file of each format in each way, one after another.

    Args:
        model: the model's name.
        project: with the model trained in it.
        fitted: the pipelines, by model and environment.
        names: the systems that were asked for.
        rows: of the file.
        turn: the round.

    Raises:
        BenchError: the file cannot be made.
    """
    folder = WORK / model / "files"
    runs = []
    sources, small = (_sources(folder, fitted[model, PLAIN], count) for count in (rows, CHECKED))
    for format in FORMATS:
        expected: list[str] | None = None
        for way in sorted(FILE_SYSTEMS, key=lambda way: way.name != "pandas"):
            if way.needs not in names or (model, way.environment) not in fitted:
                continue
            one = FileRun(turn, model, format, way.name, rows)
            runs.append(one)
            try:
                launch = _launch(way, folder, project, fitted[model, way.environment])
                _run(launch, way, small[format])  # compiles what is imported, as it is for a user
                seconds, one.memory_mib, found = _run(launch, way, sources[format])
                if expected not in (None, found):
                    raise BenchError(f"{way.name} names other classes than the pipeline")
                expected, one.rows_per_s = found, rows / seconds
            except (BenchError, OSError) as error:
                one.error = str(error)
    return runs


def _sources(folder: Path, fitted: Fitted, rows: int) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    sources = {format: folder / f"{rows}.{format}" for format in FORMATS}
    if not all(source.exists() for source in sources.values()):
        command = [str(python_of(PLAIN)), str(SERVERS / "make_files.py"), str(rows), *map(str, sources.values())]
        run(command, env={"PYTHONPATH": str(fitted.hooks)})
    return sources


def _launch(way: FileSystem, folder: Path, project: Path, fitted: Fitted) -> Launch:
    work = folder / way.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    launch = Launch(0, work, project, fitted.pipeline, fitted.hooks, way.environment)
    if way.name == "mlflow":
        save_mlflow(engine=False)(launch)
    return launch


def _run(launch: Launch, way: FileSystem, source: Path) -> tuple[float, float, list[str]]:
    """Predict a file: seconds, the most memory of the largest process in MiB, and the first classes.

    Raises:
        BenchError: it failed.
    """
    is_ours, target, log = way.needs == "ours", launch.folder / f"out{source.suffix}", launch.folder / "log.txt"
    environment = {**os.environ, **launch.variables(engine=is_ours)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command, cwd = way.command(launch, source, target), launch.project if is_ours else launch.folder
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=out)
        os.sched_setaffinity(process.pid, set(range(way.cores)))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{way.name} failed: {log.read_text()[-800:]}")
    found = _classes(target)
    target.unlink()
    return seconds, usage.ru_maxrss / 1024, found


def _classes(target: Path) -> list[str]:
    if target.suffix == ".parquet":
        code = "import sys, pyarrow.parquet as pq; b = next(pq.ParquetFile(sys.argv[1]).iter_batches(int(sys.argv[2]), "
        code += "columns=['prediction'])); print('\\n'.join(map(str, b.column(0).to_pylist())))"
        return run([str(python_of(PLAIN)), "-c", code, str(target), str(CHECKED)]).split()
    with target.open(newline="") as file:
        return [row["prediction"] for row in islice(csv.DictReader(file), CHECKED)]
