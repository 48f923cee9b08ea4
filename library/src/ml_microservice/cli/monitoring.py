"""The commands that watch the model in service: `drift`, `performance` and `feedback`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer

from ml_microservice.cli.ages import age
from ml_microservice.cli.app import app
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.settings import Settings, load_settings


@app.command()
def drift(
    window: Annotated[str | None, typer.Option(help="Age of the predictions, such as 24h or 7d.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Start of the window in UTC, instead of --window.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="End of the window in UTC; now by default.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="Model version; the one that is served by default.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit with 3 if there is an alarm.")] = False,
) -> None:
    """Compare recorded predictions with the training data of the model."""
    from ml_microservice.cli.monitoring_view import show_drift
    from ml_microservice.monitoring.drift.windows import measure_drift
    from ml_microservice.terminal import out

    if window is not None and since is not None:
        raise ServiceError(Fault("--window and --since both say when to start", advice="give one of them"))
    settings = load_settings()
    end = (until or datetime.now(UTC)).replace(tzinfo=UTC)
    start = since.replace(tzinfo=UTC) if since is not None else end - _length(window, settings)
    report = measure_drift(settings, start, end, model_version)
    if html is not None:
        from ml_microservice.monitoring.drift.report import render_drift_report

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(render_drift_report(report, settings), encoding="utf-8")
    if as_json:
        sys.stdout.buffer.write(report.to_bytes() + b"\n")
    else:
        show_drift(report, settings.monitoring.min_rows)
        if html is not None:
            out.print(f"Report: {html}", highlight=False, soft_wrap=True)
    if fail_on_drift and report.alarms:
        raise typer.Exit(3)


@app.command()
def performance(
    window: Annotated[
        str | None, typer.Option(help="Age of the predictions, such as 7d; by default as in config.yaml.")
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="Only this model version.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how accurate the model is in service: the metrics of training, computed on predictions with feedback."""
    from ml_microservice.cli.monitoring_view import show_performance
    from ml_microservice.monitoring.performance import measure

    settings = load_settings()
    until = datetime.now(UTC)
    measured = measure(settings, until - _length(window, settings), until, model_version)
    if as_json:
        sys.stdout.write(measured.model_dump_json(indent=2) + "\n")
    else:
        show_performance(measured)


@app.command()
def feedback(
    prediction_id: Annotated[str, typer.Argument(help="The prediction_id in the answer of the prediction.")],
    label: Annotated[str, typer.Argument(help="The true value of the target: a class, or a number.")],
    source: Annotated[str | None, typer.Option(help="Where the label comes from.")] = None,
) -> None:
    """Record the true label of a prediction, as `POST /feedback` does; no service has to run."""
    import asyncio

    from ml_microservice.inference.core import Core
    from ml_microservice.inference.problems import Problem
    from ml_microservice.inference.served_model import read_configured_model
    from ml_microservice.records.journal import Journal
    from ml_microservice.records.recorder import Recorder
    from ml_microservice.records.shipping_process import ship_once
    from ml_microservice.records.status import StatusReader
    from ml_microservice.terminal import out

    settings = load_settings()
    served = read_configured_model(settings).proved()
    journal = Journal(settings.records_directory, settings.name, settings.records)
    recorder = Recorder(journal, settings.records) if settings.records.sinks else None
    told = {"prediction_id": prediction_id, "label": label if served.schema.classes else _number(label)}
    try:
        body = orjson.dumps({**told, **({"source": source} if source else {})})
        asyncio.run(Core(served, settings.api, recorder=recorder).feedback(body))
    except Problem as problem:
        raise ServiceError(Fault(problem.detail)) from None
    finally:
        journal.close()
    status = StatusReader(settings.records_directory, settings.name, settings.records.sinks, is_exact=False).read()
    is_shipped = not status.is_shipping and ship_once(settings)
    out.print(f"[bold green]Taken[/] and {'shipped' if is_shipped else 'on its way to the sinks'}")


def _length(window: str | None, settings: Settings) -> timedelta:
    """The length of a window, by default as in `config.yaml`."""
    return timedelta(hours=settings.monitoring.window_hours) if window is None else age(window)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
