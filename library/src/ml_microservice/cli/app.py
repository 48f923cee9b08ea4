"""The command `ml-service` and its groups, to which the other modules of this room add their commands."""

import sys

import typer

from ml_microservice.errors import ServiceError

app = typer.Typer(
    help="Train, check and serve the model of this project.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
features_app = typer.Typer(help="Work with `features.yaml`.", no_args_is_help=True)
app.add_typer(features_app, name="features")
model_app = typer.Typer(help="Look at trained models, and hand them on.", no_args_is_help=True)
app.add_typer(model_app, name="model")
records_app = typer.Typer(help="Look after the records of predictions.", no_args_is_help=True)
app.add_typer(records_app, name="records")
jobs_app = typer.Typer(help="Look after asynchronous predictions.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
dead_app = typer.Typer(help="Look after jobs that have failed.", no_args_is_help=True)
jobs_app.add_typer(dead_app, name="dead")
logging_app = typer.Typer(help="Prepare Elasticsearch and Kibana for the records.", no_args_is_help=True)
app.add_typer(logging_app, name="logging")


def main() -> None:
    """Run a command; an error that is meant for people is shown without a traceback."""
    try:
        app()
    except ServiceError as error:
        from ml_microservice.terminal import show_faults

        show_faults(error.faults)
        sys.exit(1)
