"""What was measured, as Markdown to read and JSON to reckon with."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.bars import PYTHON_ONLY, Bar, Summary, bars, file_bars, job_bars
from benchmarks.files import FILE_SYSTEMS, FORMATS, FileRun
from benchmarks.job_load import FETCHING, SUBMITTING
from benchmarks.jobs import JOB_SYSTEMS, WORKERS, JobRun
from benchmarks.load import CONNECTIONS, wrk
from benchmarks.registry import SYSTEMS
from benchmarks.registry import system as system_named

if TYPE_CHECKING:
    from benchmarks.run import Measured, Options, Visit, Visits

HEADER = (
    "system",
    "req/s, 64 conn.",
    "16 conn.",
    "1 conn.",
    "p50 ms, 1 conn.",
    "p50 ms, 64",
    "p99 ms, 64",
    "JSON rows/s",
    "Arrow rows/s",
    "Parquet rows/s",
    "cold start s",
    "memory MiB",
)
FORMS = ("json", "arrow", "parquet")
WHAT_OF_JOBS = ("submitted", "finished")


def write(measured: "Measured", options: "Options") -> Path:
    """Write both files; returns the Markdown's path."""
    visits, versions, runs = measured.visits, measured.versions, measured.file_runs
    options.out.mkdir(parents=True, exist_ok=True)
    summaries = summarise(visits)
    found = [
        bar for model, systems in summaries.items() for bar in bars(model, systems, options.systems) if not options.only
    ]
    found += file_bars(runs) + job_bars(measured.job_runs)
    about = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    settings = {**asdict(options), "out": options.out.name, "connections": CONNECTIONS}
    data = {
        **about,
        "settings": settings,
        "versions": versions,
        "systems": {entry.name: entry.settings for entry in SYSTEMS if entry.name in options.systems},
        "rounds": {
            model: {name: [visit.as_json() for visit in rounds] for name, rounds in systems.items()}
            for model, systems in visits.items()
        },
        "files": [asdict(one) for one in runs],
        "jobs": [asdict(one) for one in measured.job_runs],
        "bars": [{**asdict(bar), "passed": bar.passed} for bar in found],
    }
    markdown = options.out / "bench.md"
    markdown.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    parts = [_heading(about, settings)]
    parts += [_model_table(model, summaries[model], visits[model]) for model in visits if visits[model]]
    parts += [
        _files_table(runs),
        _jobs_table(measured.job_runs),
        _bars_table(found),
        _notes(visits, options),
        _versions_table(versions),
    ]
    markdown.write_text("\n".join(part for part in parts if part))
    return markdown


def summarise(visits: "Visits") -> dict[str, dict[str, Summary]]:
    """The valid values of every system; the limits, which have no model, stand beside every model."""
    first = next(iter(visits), None)
    limits = {name: rounds for name, rounds in visits.get(str(first), {}).items() if system_named(name).kind == "limit"}
    return {
        model: {name: _summary(rounds) for name, rounds in {**limits, **systems}.items() if _measured(rounds)}
        for model, systems in visits.items()
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    said = subprocess.run([wrk(), "-v"], capture_output=True, text=True, check=False).stdout.split(" [")[0]
    cores, system = os.cpu_count(), platform.release()
    model = cpu.partition(":")[2].strip()
    return {"cpu": model, "cores": cores, "python": platform.python_version(), "kernel": system, "load": said}


def _measured(rounds: "Sequence[Visit]") -> bool:
    return any(visit.cells for visit in rounds)


def _summary(rounds: "Sequence[Visit]") -> Summary:
    cells = [cell for visit in rounds for cell in visit.cells if cell.valid]

    def by_connections(name: str) -> dict[int, list[float]]:
        return {n: [getattr(cell, name) for cell in cells if cell.connections == n] for n in CONNECTIONS}

    return Summary(
        rates=by_connections("requests_per_s"),
        p50=by_connections("p50_ms"),
        p99=by_connections("p99_ms"),
        bulk={form: [rate for visit in rounds if (rate := _number(visit.bulk.get(form)))] for form in FORMS},
        cold_start_s=[visit.cold_start_s for visit in rounds if visit.cold_start_s is not None],
        memory_mib=[visit.memory_mib for visit in rounds if visit.memory_mib is not None],
    )


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, float) else None


def _heading(about: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    on = about["machine"]
    return (
        f"# Benchmark of {about['created']}\n\n"
        f"{on['cpu']}, {on['cores']} cores, Python {on['python']}, Linux {on['kernel']}, {on['load'].strip()}. Server "
        f"on one core, load on another. {settings['rounds']} round(s) of {settings['seconds']:g} s a cell, systems "
        "interleaved; medians, with the smallest and the largest in brackets where there are several. Bulk: 10,000 "
        "rows in a body. Memory: PSS of all processes after the warm-up.\n"
    )


def _model_table(model: str, summaries: Mapping[str, Summary], visits: "Mapping[str, Sequence[Visit]]") -> str:
    rows = []
    for entry in SYSTEMS:
        summary = summaries.get(entry.name)
        if summary is None:
            if entry.name in visits:
                rows.append([entry.title, "did not run", *[""] * (len(HEADER) - 2)])
            continue
        rows.append(
            [
                entry.title,
                *(_spread(summary.rates[n], 0) for n in reversed(CONNECTIONS)),
                _spread(summary.p50[1], 2),
                _spread(summary.p50[64], 2),
                _spread(summary.p99[64], 2),
                *(_spread(summary.bulk[form], 0) for form in FORMS),
                _spread(summary.cold_start_s, 2),
                _spread(summary.memory_mib, 0),
            ]
        )
    words = " (cannot be compiled: every system runs its Python)" if model == PYTHON_ONLY else ""
    return f"## {model}{words}\n\n" + _table(HEADER, rows)


def _files_table(runs: Sequence[FileRun]) -> str:
    """Rows a second of whole files."""
    if not runs:
        return ""
    body = []
    for model in dict.fromkeys(one.model for one in runs):
        for way in FILE_SYSTEMS:
            mine = [one for one in runs if (one.model, one.system) == (model, way.name)]
            if mine:
                rates = [[one.rows_per_s for one in mine if one.format == f and one.rows_per_s] for f in FORMATS]
                memory = [one.memory_mib for one in mine if one.memory_mib]
                body.append([model, way.title, *(_spread(values, 0) for values in rates), _spread(memory, 0)])
    head = f"## Files of {runs[0].rows:,} rows\n\nRows a second, from the start of the process to the whole result.\n\n"
    return head + _table(("model", "way", "CSV rows/s", "Parquet rows/s", "largest process MiB"), body)


def _jobs_table(runs: Sequence[JobRun]) -> str:
    """How fast jobs are taken and finished."""
    if not runs:
        return ""
    body = []
    for way in JOB_SYSTEMS:
        mine = [one for one in runs if one.system == way.name]
        if mine:
            taken, done = ([rate for one in mine if (rate := getattr(one, f"{what}_per_s"))] for what in WHAT_OF_JOBS)
            alone = [one.alone_ms for one in mine if one.alone_ms is not None]
            count = max(one.jobs for one in mine)
            body.append([way.title, f"{count:,}", _spread(taken, 0), _spread(done, 0), _spread(alone, 0)])
    head = (
        f"## Jobs of one row, {runs[0].model}\n\nThe API, {WORKERS} worker process and the servers behind them share "
        f"one core. {SUBMITTING} connections submit all jobs, then {FETCHING} fetch all results; finished: by the time "
        "from the first submission to the last result. Alone: median from one submission to its result.\n\n"
    )
    return head + _table(("way", "jobs", "submitted/s", "finished/s", "alone ms"), body)


def _bars_table(found: Sequence[Bar]) -> str:
    if not found:
        return ""
    rows = [
        [bar.model, bar.what, bar.against, _figure(bar.ratio), f"{bar.sense} {bar.bar:.3g}", _verdict(bar)]
        for bar in found
    ]
    passed = sum(bar.passed for bar in found)
    head = f"## Bars: {passed} of {len(found)} reached\n\nThe ratio is ours divided by theirs.\n\n"
    return head + _table(("model", "what", "against", "ratio", "bar", ""), rows)


def _figure(ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{ratio:.3g}"


def _verdict(bar: Bar) -> str:
    return "pass" if bar.passed else "**FAIL**"


def _notes(visits: "Visits", options: "Options") -> str:
    if options.only:
        return ""
    lines = [f"- {entry.name}: {entry.settings}" for entry in SYSTEMS if entry.name in options.systems]
    faults = [
        f"- {name} with {model}, round {visit.round}: {' '.join(visit.error.split())[:600]}"
        for model, systems in visits.items()
        for name, rounds in systems.items()
        for visit in rounds
        if visit.error
    ]
    text = "## Settings\n\n" + "\n".join(lines) + "\n"
    return text + ("\n## What did not run, or not well\n\n" + "\n".join(faults) + "\n" if faults else "")


def _versions_table(versions: Mapping[str, Mapping[str, str]]) -> str:
    rows = [[name, ", ".join(f"{package} {v}" for package, v in found.items())] for name, found in versions.items()]
    return "## Versions\n\n" + _table(("environment", "packages"), rows)


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 or low == high else f"{middle} ({low}-{high})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
