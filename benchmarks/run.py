"""Install, start, check and measure every system, in rounds; then write the tables."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import backing, environments, files, jobs, load, report
from benchmarks.environments import HERE, OURS, PLAIN, WORK, BenchError, Fitted
from benchmarks.process import LOAD_CORE, free_ports, serving
from benchmarks.registry import MODELS, QUICK, SYSTEMS, system
from benchmarks.systems import Launch, System


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    systems: tuple[str, ...]
    models: tuple[str, ...]
    rounds: int
    seconds: float
    warm_up: float
    out: Path
    quick: bool
    file_rows: int
    """Of the files; 0 leaves them out."""
    job_seconds: float
    """For each system that does jobs; 0 leaves them out."""
    only: str | None
    """`files` or `jobs`."""


@dataclass
class Visit:
    """One system with one model in one round."""

    round: int
    cold_start_s: float | None = None
    memory_mib: float | None = None
    cells: list[load.Cell] = field(default_factory=list)
    bulk: dict[str, float | str] = field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**self.__dict__, "cells": [load.as_json(cell) for cell in self.cells]}


Visits = dict[str, dict[str, list[Visit]]]
"""By model and system, in rounds."""


@dataclass
class Measured:
    """Everything that a run measured."""

    visits: Visits
    file_runs: list[files.FileRun] = field(default_factory=list)
    job_runs: list[jobs.JobRun] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; exit code 1 where a system that has to answer does not answer right."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))  # so that the servers are ended too
    try:
        os.sched_setaffinity(0, {LOAD_CORE})
        load.wrk()
        with alone():
            measured = measure_all(options)
    except (BenchError, OSError) as error:
        sys.exit(f"bench: {error}")
    written = report.write(measured, options)
    print(written.read_text())
    print(f"Written: {written}, {written.with_suffix('.json')}")
    faults = [
        f"{name} with {model}: {visit.error}"
        for model, systems in measured.visits.items()
        for name, rounds in systems.items()
        for visit in rounds
        if visit.error and (name in QUICK)
    ]
    faults += [
        f"{one.system}, {one.format} file with {one.model}: {one.error}" for one in measured.file_runs if one.error
    ]
    faults += [f"jobs of {one.system} with {one.model}: {one.error}" for one in measured.job_runs if one.error]
    if faults:
        sys.exit("bench: " + "\n".join(dict.fromkeys(faults)))


@contextmanager
def alone() -> Iterator[None]:
    """Two benchmarks at once would spoil each other's files and figures.

    Raises:
        BenchError: another one is running.
    """
    WORK.mkdir(exist_ok=True)
    with (WORK / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError("another benchmark is running here") from None
        yield


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ours, naive and the limits, logistic only")
    names = [entry.name for entry in SYSTEMS]
    parser.add_argument("--systems", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--models", nargs="+", choices=MODELS, help="all by default")
    parser.add_argument("--rounds", type=int, help="3 by default, 1 with --quick")
    parser.add_argument("--seconds", type=float, help="for each cell: 5 by default, 2 with --quick")
    parser.add_argument("--file-rows", type=int, help="1,000,000 by default, 200,000 with --quick; 0 for no files")
    parser.add_argument("--job-seconds", type=float, help="for each system: 10 by default, no jobs with --quick or 0")
    only = parser.add_mutually_exclusive_group()
    for part in ("files", "jobs"):
        only.add_argument(f"--only-{part}", action="store_const", const=part, dest="only", help="nothing else")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the report")
    given = parser.parse_args(arguments)
    quick = bool(given.quick)
    file_rows = (200_000 if quick else 1_000_000) if given.file_rows is None else given.file_rows
    job_seconds = (0 if quick and given.only != "jobs" else 10) if given.job_seconds is None else given.job_seconds
    return Options(
        systems=tuple(given.systems or (QUICK if quick else names)),
        models=tuple(given.models or (MODELS[:1] if quick else MODELS)),
        rounds=given.rounds or (1 if quick else 3),
        seconds=given.seconds or (2 if quick else 5),
        warm_up=1 if quick else 3,
        out=given.out,
        quick=quick,
        file_rows=0 if given.only == "jobs" else file_rows,
        job_seconds=0 if given.only == "files" else job_seconds,
        only=given.only,
    )


def measure_all(options: Options) -> Measured:
    """Prepare everything, then visit every system once in each round.

    Raises:
        BenchError: what everything else stands on cannot be made.
    """
    chosen = [system(name) for name in options.systems]
    needed = job_environments(options)
    say("baking the project")
    environments.bake()
    broken = install([*needed, *(entry.environment for entry in chosen)])
    projects, fitted = prepare(options.models, chosen, broken)
    for environment in set(needed) - broken.keys():
        # Of the very versions that the plain environment has.
        fitted |= {(model, environment): fitted[model, PLAIN] for model in options.models}
    measured = Measured({model: {} for model in options.models})
    for turn in range(options.rounds):
        for model in options.models:
            if options.file_rows:
                asked = (model, projects[model], fitted, options.systems, options.file_rows, turn + 1)
                for one in files.measure(*asked):
                    measured.file_runs.append(one)
                    rate = one.error or f"{one.rows_per_s:,.0f} rows/s"
                    say(f"round {turn + 1}  {model:<9} {one.format:<7} {one.system:<8} {rate}")
            if options.job_seconds and model == options.models[0]:  # of another, only the prediction differs
                asked_jobs = (model, projects[model], fitted, options.systems, options.job_seconds, turn + 1)
                for done in jobs.measure_jobs(*asked_jobs):
                    measured.job_runs.append(done)
                    say(f"round {turn + 1}  {model:<9} jobs    {done.system:<15} {done}")
            for entry in () if options.only else chosen:
                if entry.kind == "limit" and model != options.models[0]:
                    continue  # no model behind it: once is enough
                visit = Visit(
                    turn + 1, error=broken.get(entry.environment) or broken.get(f"{model} {entry.environment}")
                )
                if visit.error is None:
                    measure_one(visit, entry, model, projects[model], fitted[model, entry.environment], options)
                measured.visits[model].setdefault(entry.name, []).append(visit)
    found = {*needed, *(entry.environment for entry in chosen)} - broken.keys()
    measured.versions = {environment: environments.versions(environment) for environment in sorted(found)}
    if needed:
        measured.versions["of the machine"] = backing.installed_versions()
    return measured


def job_environments(options: Options) -> list[str]:
    """Environments of the systems that do jobs, if any are asked to."""
    return [way.environment for way in jobs.JOB_SYSTEMS if way.needs in options.systems and options.job_seconds]


def install(needed: Sequence[str]) -> dict[str, str]:
    """Install the environments that are needed; returns why, for each environment that cannot be had.

    Raises:
        BenchError: an environment that everything stands on cannot be had.
    """
    broken = {}
    for environment in dict.fromkeys([PLAIN, OURS, *needed]):
        say(f"installing {environment}")
        try:
            environments.install(environment)
        except BenchError as error:
            if environment in (PLAIN, OURS):
                raise
            broken[environment] = f"not installed: {error}"
            say(broken[environment])
    return broken


def prepare(
    models: Sequence[str], chosen: Sequence[System], broken: dict[str, str]
) -> tuple[dict[str, Path], dict[tuple[str, str], Fitted]]:
    """Train every model in the project and fit it once more for each environment.

    Raises:
        BenchError: what everything stands on cannot be made.
    """
    projects, fitted = {}, {}
    for model in models:
        say(f"training {model}")
        projects[model] = environments.train_project(model)
        fitted[model, PLAIN] = fitted[model, OURS] = environments.fit(model, PLAIN)
        for environment in {entry.environment for entry in chosen} - {PLAIN, OURS} - broken.keys():
            try:
                fitted[model, environment] = environments.fit(model, environment)
            except BenchError as error:
                broken[f"{model} {environment}"] = f"not fitted: {error}"
    return projects, fitted


def measure_one(visit: Visit, entry: System, model: str, project: Path, fitted: Fitted, options: Options) -> None:
    """Start one system, check it, warm it up, measure it; what goes wrong is kept in the visit."""
    folder = WORK / model / "run" / entry.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    launch = Launch(free_ports(), folder, project, fitted.pipeline, fitted.hooks, entry.environment)
    task = load.Task.read(WORK / model / PLAIN)
    bodies = task.write_bodies(entry, folder / "bodies.txt")
    env = {**launch.variables(engine=entry.engine), **entry.extra}
    first = json.dumps(entry.body(task.rows[0])).encode()
    if entry.kind == "ours":
        shutil.rmtree(project / "var", ignore_errors=True)  # records of an earlier visit
    cwd = project if entry.kind == "ours" else environments.SERVERS if entry.name.startswith("bentoml") else folder
    try:
        if entry.prepare:
            entry.prepare(launch)
        target = {"port": launch.port, "path": entry.path, "body": first}
        with serving(entry.command(launch), **target, cwd=cwd, env=env, log=folder / "log.txt") as running:  # type: ignore[arg-type]
            visit.cold_start_s = running.cold_start_s
            load.check(entry, running, task)
            warm = load.measure(entry, running, bodies, 16, options.warm_up)
            visit.memory_mib = load.memory(running)
            for connections in load.CONNECTIONS:
                seconds = load.long_enough(options.seconds, connections, warm.requests_per_s)
                visit.cells.append(load.measure(entry, running, bodies, connections, seconds))
            visit.bulk = load.measure_bulk(entry, running, task, options.seconds / 2)
    except (BenchError, OSError, ValueError, KeyError, TypeError) as error:
        visit.error = f"{type(error).__name__}: {error}" if not isinstance(error, BenchError) else str(error)
    bad = [cell for cell in visit.cells if not cell.valid]
    if bad and visit.error is None:
        visit.error = "; ".join(f"{c.connections} conn.: {c.non_2xx} non-2xx, {c.broken} broken" for c in bad)
    rates = "  ".join(
        f"{cell.connections}: {cell.requests_per_s:,.0f}/s p50 {cell.p50_ms:.2f} ms" for cell in visit.cells
    )
    say(f"round {visit.round}  {model:<9} {entry.name:<20} {rates}  {visit.error or ''}")


def say(words: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)
