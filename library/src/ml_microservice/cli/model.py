"""The commands that make, check and use models: `train`, `check`, `predict`, `features infer`, `doctor` and others."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ml_microservice.artefact.store import version_folder
from ml_microservice.cli.app import app, features_app, model_app
from ml_microservice.errors import ConfigError, Fault, FrameError
from ml_microservice.settings import load_settings


@app.command()
def train(
    rows: Annotated[int | None, typer.Option(help="Load at most this many rows.", min=1)] = None,
    compile_model: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the model; overrides config.yaml.")
    ] = None,
) -> None:
    """Train a model with the hooks in `src/model`, evaluate it, and make it the current version."""
    from ml_microservice.terminal import out, stages
    from ml_microservice.training.pipeline import STAGES
    from ml_microservice.training.pipeline import train as run

    settings = load_settings()
    if compile_model is not None:
        training = settings.training.model_copy(update={"compile": compile_model})
        settings = settings.with_training(training)
    with stages(STAGES) as on_stage:
        trained = run(settings, n_rows=rows, on_stage=on_stage)
    headline = trained.evaluation.headline
    out.print(f"[bold green]Trained[/] {trained.manifest.version} on {trained.manifest.train_rows:,} rows")
    for name, value in trained.manifest.metrics.items():
        mark = " <-" if name == headline.name else ""
        out.print(f"  {name:<18} {_number(value)}   always guessing: {_number(trained.manifest.baseline[name])}{mark}")
    out.print(f"Engine: {trained.manifest.engine.serves}", highlight=False)
    reproduction = trained.manifest.reproduction
    if reproduction.of:
        out.print(
            f"  {reproduction.verdict} to {reproduction.of}" + "".join(f"\n    {why}" for why in reproduction.why)
        )
    out.print(f"Report: {_relative(trained.folder / 'report.html')}\nNext:   make serve", soft_wrap=True)


@app.command()
def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, patterns or URLs: CSV, Parquet, JSON lines, Arrow."),
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="A file, or a folder that gets one file per part.")
    ] = None,
    format: Annotated[
        Literal["csv", "parquet", "jsonl", "arrow"] | None,
        typer.Option(help="Format of the files in an output folder; by default the input's."),
    ] = None,
    engine: Annotated[
        Literal["local", "dask"], typer.Option(help="Where the work runs: on this machine, or on Dask.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine; one per core by default.", min=1)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, such as tcp://host:8786; by default a cluster is started here."
        ),
    ] = None,
) -> None:
    """Predict every row of files of any size and write them with the predictions added.

    Run the same command again to resume a run that was killed.
    """
    from ml_microservice.cli.model_view import row_progress
    from ml_microservice.inference.files.executors import ExecutorConfig
    from ml_microservice.inference.files.plan import ModelPlace
    from ml_microservice.inference.files.run import predict_files
    from ml_microservice.terminal import out

    settings = load_settings()
    folder = version_folder(settings).resolve()
    model = ModelPlace(folder, settings.name, settings.id_name)
    with row_progress() as on_progress:
        result = predict_files(
            model,
            inputs,
            output,
            format=format,
            executor=ExecutorConfig(engine, workers, scheduler),
            on_progress=on_progress,
        )
    if result.taken_up:
        out.print(f"Taken up from an earlier run: {result.taken_up:,} rows")
    words = f"{result.target}: {result.rows:,} rows, {result.bad:,} without a prediction"
    out.print(f"[bold green]Wrote[/] {words}", soft_wrap=True)
    if result.bad_rows:
        out.print(f"[yellow]Why:[/]  {result.bad_rows}", soft_wrap=True)


@app.command()
def check(rows: Annotated[int | None, typer.Option(help="Load at most this many rows.", min=1)] = None) -> None:
    """Check the hooks and both YAML files against each other: what does not fit, where, and how to fix it."""
    from ml_microservice.conformance.kit import CHECKS, run_checks
    from ml_microservice.terminal import out, show_faults

    passed = 0
    faults: list[Fault] = []
    for result in run_checks(Path(), n_rows=rows):
        mark = {"passed": "[green]ok[/]  ", "failed": "[red]FAIL[/]", "skipped": "[yellow]skip[/]"}[result.outcome]
        out.print(f"{mark} {result.check.title}", highlight=False)
        passed += result.outcome == "passed"
        faults += result.faults
    if faults:
        show_faults(faults)
        raise typer.Exit(1)
    out.print(f"[bold green]All {passed} of {len(CHECKS)} checks passed.[/] Next: make train")


@features_app.command()
def infer(
    write: Annotated[bool, typer.Option("--write", help="Write `features.yaml` instead of printing it.")] = False,
) -> None:
    """Complete `features.yaml` from the training frame: types, examples, and the ranges that were seen."""
    import pandas as pd

    from ml_microservice.features.features_file import load_features
    from ml_microservice.features.infer import infer_features, write_features
    from ml_microservice.terminal import out
    from ml_microservice.training.hooks import load_hooks
    from ml_microservice.training.split import load_frame

    settings = load_settings()
    if not settings.features_file.is_file():
        advice = "create it with a bare list of the columns to predict from, each on a line of its own after '- '"
        raise ConfigError(Fault("there is no such file", file="src/model/features.yaml", advice=advice))
    draft = load_features(settings.features_file, settings.id_name)
    frame = load_frame(load_hooks(settings.root, None))
    if not isinstance(frame, pd.DataFrame):
        raise FrameError(f"load_data returned {type(frame).__name__}, not a pandas.DataFrame")
    text = write_features(infer_features(draft, frame, settings.id_name), frame)
    if write:
        settings.features_file.write_text(text, encoding="utf-8")
        out.print(f"[bold green]Wrote[/] {_relative(settings.features_file)}: read it through, then run: make check")
    else:
        sys.stdout.write(text)


@model_app.command("explain-engine")
def explain_engine(
    version: Annotated[str | None, typer.Argument(help="Model version; the one that is served by default.")] = None,
) -> None:
    """Show how a model answers requests: which engines were tried, why they were refused, and how fast they are."""
    from ml_microservice.artefact.reader import read_manifest
    from ml_microservice.cli.model_view import show_engine

    settings = load_settings()
    folder = version_folder(settings, version)
    manifest = read_manifest(folder)
    show_engine(manifest.version, manifest.engine)


@model_app.command("export")
def export_model(
    file: Annotated[Path, typer.Argument(help="The archive to write.")],
    report: Annotated[Path | None, typer.Option(help="Write the HTML report of the model to this file, too.")] = None,
) -> None:
    """Write the current version to one archive; the same version gives the same bytes."""
    from ml_microservice.terminal import out
    from ml_microservice.training.handover import export_model as export

    manifest = export(load_settings(), file, report)
    out.print(f"[bold green]Wrote[/] {file}: model {manifest.version}", highlight=False, soft_wrap=True)


@model_app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="An archive written by `ml-service model export`.")],
) -> None:
    """Verify an archive that was trained elsewhere with these hooks, and make it the current version."""
    from ml_microservice.terminal import out
    from ml_microservice.training.handover import import_model as take

    manifest = take(load_settings(), file)
    out.print(f"[bold green]Imported[/] {manifest.version}, which is now the current version", highlight=False)


@app.command()
def doctor() -> None:
    """Show what this project is, what it would serve, and whether anything is wrong."""
    from ml_microservice.doctor import examine
    from ml_microservice.terminal import out, show_faults

    faults: list[Fault] = []
    for finding in examine(Path()):
        mark = "[red]FAIL[/]" if finding.faults else "[green]ok[/]  "
        out.print(f"{mark} {finding.subject:<14} {finding.words}", highlight=False, soft_wrap=True)
        faults += finding.faults
    if faults:
        show_faults(faults)
        raise typer.Exit(1)


@app.command("eject-example")
def eject_example() -> None:
    """Replace the example with the blank starter; what you wrote outside the example blocks stays."""
    from ml_microservice.starter import eject_example as eject
    from ml_microservice.terminal import out

    out.print(str(eject(Path())), highlight=False, soft_wrap=True)
    out.print("Next: fill in the hooks in src/model, then run: make check")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _number(value: float | None) -> str:
    return f"{value:>8.4g}" if value is not None else "undefined"
