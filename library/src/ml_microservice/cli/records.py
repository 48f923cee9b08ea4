"""The commands `ml-service records ...`; each is thin over the room of records."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import orjson
import typer

from ml_microservice.artefact.store import version_folder
from ml_microservice.cli.ages import age
from ml_microservice.cli.app import records_app
from ml_microservice.errors import Fault, ServiceError, did_you_mean, listed
from ml_microservice.settings import CONFIG_FILE, Settings, load_settings

if TYPE_CHECKING:
    from ml_microservice.records.record import Record

TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z"]


@records_app.command()
def ship(
    once: Annotated[
        bool, typer.Option("--once", help="Ship what is there, then exit; with 1 if records are left.")
    ] = False,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds to ship the remaining records after SIGTERM or SIGINT.")
    ] = 5,
    child: Annotated[bool, typer.Option("--child", hidden=True, help="Ends with the process that started it.")] = False,
) -> None:
    """Ship records to the sinks of `config.yaml` until SIGTERM; one process at a time ships a folder, others wait."""
    from ml_microservice.logs import configure_logging
    from ml_microservice.records.shipping_process import ship_once, ship_until_stopped

    settings = load_settings()
    configure_logging(settings.logging)
    if not once:
        ship_until_stopped(settings, drain_seconds, is_child=child)
    elif not ship_once(settings):
        raise typer.Exit(1)


@records_app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far each sink is, and which records are set aside."""

    from ml_microservice.cli.records_view import show_status
    from ml_microservice.records.status import StatusReader

    settings = load_settings()
    reader = StatusReader(settings.records_directory, settings.name, settings.records.sinks, is_exact=True)
    if as_json:
        sys.stdout.write(orjson.dumps(reader.read(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show_status(reader.read())


@records_app.command()
def show(
    prediction_id: Annotated[str | None, typer.Argument(help="Show one prediction; by default the latest.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of the latest to show.")] = 1,
) -> None:
    """Print predictions from the database, newest first, each with the feedback that was received last."""

    from ml_microservice.records.database.store import open_store

    if prediction_id is not None:
        try:
            prediction_id = str(UUID(prediction_id))
        except ValueError:
            advice = "give the prediction_id of an answer"
            raise ServiceError(Fault(f"{prediction_id!r} is no UUID", advice=advice)) from None
    with open_store(load_settings()) as store:
        found = store.latest(count, prediction_id)
    if not found:
        advice = "`ml-service records status` says what is still on its way to the database"
        what = "no prediction" if prediction_id is None else f"no prediction {prediction_id}"
        raise ServiceError(Fault(f"the database has {what}", advice=advice))
    for prediction, told in found:
        document = {**prediction.as_json(), "feedback": None if told is None else told.as_json()}
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


@records_app.command()
def replay(
    sink: Annotated[str, typer.Option(help="The sink to send to.")],
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Send the records that the sink refused.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=TIME_FORMATS, help="Send records of the database from this time on (UTC)."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=TIME_FORMATS, help="Send records before this time (UTC); now by default."),
    ] = None,
) -> None:
    """Send records again; a record that arrives twice is stored once."""
    from ml_microservice.records.replay import replay_dead_letters, replay_records
    from ml_microservice.records.sinks.factory import SINKS, open_sink
    from ml_microservice.terminal import err

    settings = load_settings()
    if sink not in SINKS:
        raise ServiceError(Fault(f"there is no sink {sink!r}", advice=did_you_mean(sink, SINKS, listed(SINKS))))
    if dead_letters == (since is not None):
        raise ServiceError(Fault("what is to be sent?", advice="say either --dead-letters or --from TIME [--to TIME]"))
    target = open_sink(settings, sink)
    try:
        if since is None:
            result = replay_dead_letters(target, settings.records_directory)
        else:
            records = _recorded(settings, sink, _utc(since), _utc(until or datetime.now(UTC)))
            result = replay_records(target, records, settings.records_directory)
    finally:
        target.close()
    # Not to stdout, which may be the sink.
    err.print(f"{sink} took {result.taken:,} records and refused {result.refused:,}", highlight=False, soft_wrap=True)


@records_app.command()
def migrate() -> None:
    """Migrate the tables of the database to the newest revision; repeated, it changes nothing."""
    from ml_microservice.database.engine import open_engine, reported
    from ml_microservice.database.revision import migrate as run
    from ml_microservice.database.revision import newest
    from ml_microservice.terminal import out

    engine = open_engine(load_settings())
    with reported(engine):
        before = run(engine)
    done = "is up to date" if before == newest() else f"was of revision {before or 'none'} and is up to date now"
    out.print(f"The database {done}: revision {newest()}", highlight=False)


@records_app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(help="Age, such as 90d; by default records.retention_days of config.yaml.")
    ] = None,
) -> None:
    """Delete old predictions and their feedback from the database."""
    from ml_microservice.records.database.retention import prune_expired, prune_older
    from ml_microservice.terminal import out

    settings = load_settings()
    pruned = prune_expired(settings) if older_than is None else prune_older(settings, age(older_than))
    if pruned is None:
        advice = "set records.retention_days, or say --older-than 90d"
        raise ServiceError(Fault("nothing says how old records may get", file=CONFIG_FILE, advice=advice))
    out.print(f"Deleted {pruned.predictions:,} predictions and {pruned.feedback:,} feedbacks", highlight=False)


@records_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines (.jsonl) to write.")],
    labelled: Annotated[
        bool,
        typer.Option(
            "--labelled", help="Write a training frame: features and target of the predictions that have feedback."
        ),
    ] = False,
    window: Annotated[str | None, typer.Option(help="Only predictions up to this age, such as 30d.")] = None,
    model_version: Annotated[str | None, typer.Option(help="Only predictions of this model version.")] = None,
) -> None:
    """Write predictions, their inputs and their feedback to a file."""
    from rich.markup import escape

    from ml_microservice.artefact.reader import read_artefact
    from ml_microservice.monitoring.export import Selection, export_records
    from ml_microservice.monitoring.labelled_frame import export_labelled
    from ml_microservice.records.database.store import open_store
    from ml_microservice.terminal import out

    settings = load_settings()
    # Features and target are those of the model that is served.
    folder = version_folder(settings)
    schema = read_artefact(folder, settings.name).schema
    until = datetime.now(UTC)
    since = datetime(1970, 1, 1, tzinfo=UTC) if window is None else until - age(window)
    with open_store(settings) as store:
        run = export_labelled if labelled else export_records
        exported = run(store, Selection(since, until, model_version), schema, file)
    out.print(f"[bold green]Wrote[/] {escape(str(file))}: {exported.rows:,} rows", soft_wrap=True)
    for note in exported.notes:
        out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)


def _recorded(settings: "Settings", sink: str, since: datetime, until: datetime) -> Iterator["Record"]:
    """The records of the database."""
    if sink == "database":
        raise ServiceError(Fault("the database has them already", advice="name another sink"))
    from ml_microservice.records.database.store import open_store

    with open_store(settings) as store:
        yield from store.records(since, until)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
