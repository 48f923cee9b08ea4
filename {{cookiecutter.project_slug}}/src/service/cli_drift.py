"""`service drift`: has what the service is asked, or what it answers, changed since training?"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from service.errors import Fault, ServiceError
from service.settings import load_settings


def drift(
    window: Annotated[str | None, typer.Option(help="Age of the predictions, such as 24h or 7d.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Start instead, in UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="End, in UTC; now by default.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="A version; the one that is served by default.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit with 3 if there is an alarm.")] = False,
) -> None:
    """Compare recorded predictions with what the model was trained on."""
    from service.monitoring.drift.windows import drift_of
    from service.records.period import period
    from service.terminal import out, show_drift

    if window is not None and since is not None:
        raise ServiceError(Fault("--window and --since both say when to start", advice="give one of them"))
    settings = load_settings()
    end = (until or datetime.now(UTC)).replace(tzinfo=UTC)
    try:
        length = period(window) if window is not None else timedelta(hours=settings.monitoring.window_hours)
    except ValueError as error:
        raise ServiceError(Fault(f"--window: {error}")) from None
    start = since.replace(tzinfo=UTC) if since is not None else end - length
    report = drift_of(settings, start, end, model_version)
    if html is not None:
        from service.monitoring.drift.report import render_drift_report

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
