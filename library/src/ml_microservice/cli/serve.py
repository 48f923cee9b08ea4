"""`ml-service serve`."""

import gc
from typing import Annotated

import typer

from ml_microservice.cli.app import app


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes.", min=1)] = None,
) -> None:
    """Serve the current model over HTTP; options override `config.yaml`."""
    # Nearly all objects made while starting stay: collecting garbage among them takes a tenth of the start.
    gc.disable()
    from ml_microservice.api.server import run

    run({"host": host, "port": port, "workers": workers})
