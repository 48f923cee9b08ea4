"""The benchmark itself: the quick form runs, answers right, and writes what it promises."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"noop", "noop_validated", "fastapi_empty"}

pytestmark = [
    pytest.mark.t3,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("wrk") or os.environ.get("CI")), reason="wrk is not installed: apt-get install wrk"
    ),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core for the server, one for the load"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the report of a quick run."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--seconds", "1", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_the_quick_run_measures_ours_naive_and_the_limits(report: Path) -> None:
    data = json.loads((report / "bench.json").read_text())
    assert data["rounds"].keys() == {"logistic"}
    systems = data["rounds"]["logistic"]
    assert systems.keys() == LIMITS | {"naive", "ours"}
    for name, rounds in systems.items():
        for visit in rounds:
            assert visit["error"] is None, name
            assert [cell["connections"] for cell in visit["cells"]] == [1, 16, 64]
            assert all(cell["valid"] and cell["requests_per_s"] > 0 for cell in visit["cells"])
            assert visit["cold_start_s"] > 0
            assert visit["memory_mib"] > 0


def test_bulk_rows_are_measured_where_there_is_a_model(report: Path) -> None:
    systems = json.loads((report / "bench.json").read_text())["rounds"]["logistic"]
    for name in ("naive", "ours"):
        assert systems[name][0]["bulk"]["json"] > 0


def test_files_are_predicted_by_ours_and_by_hand(report: Path) -> None:
    runs = json.loads((report / "bench.json").read_text())["files"]
    assert {(run["system"], run["format"]) for run in runs} == {
        (system, format) for system in ("ours", "ours_1", "pandas") for format in ("csv", "parquet")
    }
    assert all(run["rows_per_s"] > 0 and run["error"] is None for run in runs)


def test_the_report_says_what_it_ran_on_and_with_which_versions(report: Path) -> None:
    data = json.loads((report / "bench.json").read_text())
    assert data["machine"]["cores"] >= 2
    assert data["versions"]["plain"]["scikit-learn"] == data["versions"]["ours"]["scikit-learn"]
    assert {bar["against"] for bar in data["bars"]} >= {"naive", "fastapi_empty", "noop"}


def test_the_table_has_a_row_for_each_system_and_no_path_of_this_machine(report: Path) -> None:
    text = (report / "bench.md").read_text()
    assert text.count("\n| ") > len(LIMITS) + 2
    assert str(ROOT) not in text + (report / "bench.json").read_text()


def test_requirements_are_pinned_and_name_no_host() -> None:
    for file in (ROOT / "benchmarks" / "requirements").glob("*.txt"):
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert all("==" in line and "://" not in line for line in lines), file.name
