"""Files that are large: memory that does not grow with them, runs that are killed, several processes, other places."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from ml_microservice.errors import ExecutorError
from ml_microservice.inference.files.executors import ExecutorConfig
from ml_microservice.inference.files.parts import PartSize
from ml_microservice.inference.files.places import place
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.inference.files.progress import RunProgress
from ml_microservice.inference.files.run import predict_files
from tests.inference.files.conftest import HOUSES, ONE_PROCESS, houses, read, write

SOURCES = Path(__file__).parents[3] / "src"
ROWS_OF_PART = 5_000
SMALL = PartSize(bytes=250_000, rows=ROWS_OF_PART)
"""Some 5,000 houses of CSV, and as many of Parquet; memory is at its height after few of them."""
RUN = """
import json, resource, sys
from pathlib import Path
from ml_microservice.inference.files.executors import ExecutorConfig
from ml_microservice.inference.files.parts import PartSize
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.inference.files.run import predict_files

if __name__ == "__main__":
    folder, source, target, workers, bytes, rows = sys.argv[1:]
    model, part_size = ModelPlace(Path(folder), "houses", "house id"), PartSize(int(bytes), int(rows))
    result = predict_files(model, [source], target, executor=ExecutorConfig(workers=int(workers)), part_size=part_size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([result.rows, result.bad, result.taken_up, peak]))
"""


TWENTY = PartSize(bytes=50_000)
"""The size of which 20,000 houses of CSV make some twenty parts."""


def start(
    model: ModelPlace, source: Path, target: Path, workers: int = 1, size: PartSize = SMALL
) -> subprocess.Popen[str]:
    """A process of its own that predicts a file."""
    script = source.parent / "run.py"
    script.write_text(RUN)
    numbers = map(str, (workers, size.bytes, size.rows))
    command = [sys.executable, str(script), str(model.folder), str(source), str(target), *numbers]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[int, int, int, float]:
    """Rows, bad rows, rows of an earlier run, and the most memory in MiB."""
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    rows, bad, taken_up, peak = (float(word) for word in out.strip(" []\n").split(","))
    return int(rows), int(bad), int(taken_up), peak


def large(path: Path, rows: int) -> Path:
    """A file of many houses, in row groups of a small part."""
    schema = houses(10).schema
    csv = pyarrow.csv.CSVWriter(path, schema) if path.suffix == ".csv" else pq.ParquetWriter(path, schema)
    with csv as writer:
        for begin in range(0, rows, ROWS_OF_PART):
            writer.write_table(houses(min(ROWS_OF_PART, rows - begin), begin))
    return path


@pytest.mark.parametrize(
    ("ending", "many", "growth"),
    [("parquet", 300_000, 1.05), pytest.param("csv", 1_000_000, 1.07, marks=pytest.mark.slow)],
)
def test_many_rows_take_the_memory_of_few(
    model: ModelPlace, tmp_path: Path, ending: str, many: int, growth: float
) -> None:
    peaks = []
    for rows in (50_000, many):
        source = large(tmp_path / f"{rows}.{ending}", rows)
        target = tmp_path / f"{rows}.out.parquet"
        done, bad, _, peak = finished(start(model, source, target))
        assert (done, bad) == (rows, rows // 1000)
        assert pq.ParquetFile(target).metadata.num_rows == rows
        peaks.append(peak)
    assert peaks[1] < growth * peaks[0], peaks


@pytest.mark.parametrize(("ending", "workers"), [("csv", 1), pytest.param("parquet", 2, marks=pytest.mark.slow)])
def test_a_killed_run_is_taken_up_and_gives_the_identical_file(
    model: ModelPlace, tmp_path: Path, ending: str, workers: int
) -> None:
    source = large(tmp_path / f"rows.{ending}", 100_000)
    finished(start(model, source, tmp_path / f"whole.{ending}", workers))
    target = tmp_path / f"out.{ending}"
    killed = 0
    for wanted in (2, 4):
        process = start(model, source, target, workers)
        work = tmp_path / f".out.{ending}.parts"
        while process.poll() is None and len(list(work.glob("_part-*.json"))) < wanted:
            time.sleep(0.01)
        children = child_processes(process.pid)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert not target.exists()
        await_end(children)
    assert killed == 2
    rows, bad, taken_up, _ = finished(start(model, source, target, workers))
    assert (rows, bad) == (100_000, 100)
    assert taken_up >= 15_000
    assert target.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert (tmp_path / "out.bad_rows.csv").read_bytes() == (tmp_path / "whole.bad_rows.csv").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def child_processes(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def await_end(pids: list[int]) -> None:
    """Wait until processes are gone."""
    deadline = time.monotonic() + 30
    while any(_is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes outlive the one that started them"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_another_model_or_a_changed_file_begins_anew(model: ModelPlace, tmp_path: Path) -> None:
    source = Path(write(tmp_path / "rows.csv", houses(1_000).to_pylist()))

    def stop(progress: RunProgress) -> None:
        if progress.rows > 300:
            raise KeyboardInterrupt

    def run(on_progress: Callable[[RunProgress], None]) -> int:
        target, size = str(tmp_path / "out.csv"), PartSize(bytes=5_000)
        return predict_files(
            model, [str(source)], target, executor=ONE_PROCESS, part_size=size, on_progress=on_progress
        ).taken_up

    for change in (False, True):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
        if change:
            write(source, houses(1_000, 1).to_pylist())
        assert (run(lambda progress: None) == 0) is change


def test_two_processes_write_what_one_writes(model: ModelPlace, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", houses(20_000).to_pylist())
    for workers in (1, 2):
        executor = ExecutorConfig(workers=workers)
        result = predict_files(model, [source], str(tmp_path / f"{workers}.csv"), executor=executor, part_size=TWENTY)
        assert (result.rows, result.bad) == (20_000, 20)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert (tmp_path / "1.bad_rows.csv").read_bytes() == (tmp_path / "2.bad_rows.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("is_given", [False, True])
def test_a_dask_cluster_of_two_processes_writes_what_one_process_writes(
    model: ModelPlace, tmp_path: Path, is_given: bool
) -> None:
    distributed = pytest.importorskip("distributed")
    source = write(tmp_path / "rows.csv", houses(20_000).to_pylist())
    predict_files(model, [source], str(tmp_path / "one.csv"), executor=ONE_PROCESS, part_size=TWENTY)
    with ExitStack() as stack:
        executor = ExecutorConfig("dask", workers=2)
        if is_given:
            cluster = distributed.LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
            executor = ExecutorConfig("dask", scheduler=stack.enter_context(cluster).scheduler_address)
        result = predict_files(model, [source], str(tmp_path / "two.csv"), executor=executor, part_size=TWENTY)
    assert (result.rows, result.bad) == (20_000, 20)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.fixture(params=["memory", "file"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder that fsspec reaches."""
    fsspec = pytest.importorskip("fsspec")
    url = "memory://bucket" if request.param == "memory" else f"file://{tmp_path}/bucket"
    yield url
    system, path = fsspec.core.url_to_fs(url)
    if system.exists(path):
        system.rm(path, recursive=True)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "arrow"])
def test_urls_are_read_and_written_like_files(model: ModelPlace, tmp_path: Path, bucket: str, ending: str) -> None:
    fsspec = pytest.importorskip("fsspec")

    for begin in (0, 1_000):
        local = write(tmp_path / f"{begin}.{ending}", houses(1_000, begin).to_pylist())
        with fsspec.open(f"{bucket}/in/{begin}.{ending}", "wb", auto_mkdir=True) as file:
            file.write(Path(local).read_bytes())
    # That other processes get to a place is seen once; which format they read and write there is the same to them.
    executor = ExecutorConfig(workers=2 if ending == "csv" else 1)
    result = predict_files(
        model, [f"{bucket}/in/*.{ending}"], f"{bucket}/out.{ending}", executor=executor, part_size=PartSize(20_000)
    )
    assert (result.rows, result.bad) == (2_000, 2)
    with place(f"{bucket}/out.{ending}").open() as file:
        (tmp_path / f"copy.{ending}").write_bytes(file.read())
    assert [row["house id"] for row in read(tmp_path / f"copy.{ending}")] == [f"h{number}" for number in range(2_000)]
    assert place(bucket).names() == sorted(["in", f"out.{ending}", "out.bad_rows.csv"])
    predict_files(model, [f"{bucket}/in"], f"{bucket}/folder/", executor=ONE_PROCESS, part_size=PartSize(20_000))
    assert "_SUCCESS" in place(f"{bucket}/folder").names()


def test_what_one_process_keeps_in_memory_is_not_given_to_a_cluster(model: ModelPlace, bucket: str) -> None:
    if bucket.startswith("memory"):
        with place(f"{bucket}/rows.csv").writing(place(bucket)) as file:
            file.write(b"floor area,lift\n100,true\n")
        with pytest.raises(ExecutorError, match="seen by one process only"):
            predict_files(model, [f"{bucket}/rows.csv"], executor=ExecutorConfig("dask"))


def test_the_progress_ends_at_its_total(model: ModelPlace, tmp_path: Path) -> None:
    told: list[RunProgress] = []
    predict_files(model, [write(tmp_path / "rows.csv", HOUSES)], on_progress=told.append)
    assert told[-1].rows == 3
    assert told[-1].units == told[-1].total
