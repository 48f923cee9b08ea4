"""`ml-service worker`, and what it starts beside itself."""

import os
from typing import Annotated

import typer

from ml_microservice.cli.app import app
from ml_microservice.settings import ENV_PREFIX, load_settings


@app.command()
def worker(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that run jobs; one per core by default.")
    ] = None,
) -> None:
    """Run the jobs that were sent to the service; options override `config.yaml`."""
    from ml_microservice.jobs.worker.main_process import run_worker

    if concurrency is not None:
        os.environ[f"{ENV_PREFIX}JOBS__CONCURRENCY"] = str(concurrency)
    run_worker(load_settings())


@app.command(hidden=True)
def sweep() -> None:
    """Send lost messages of jobs again, and delete old jobs, until stdin ends; a companion of the worker."""
    from ml_microservice.jobs.worker.sweeper import sweep_beside
    from ml_microservice.logs import configure_logging

    settings = load_settings()
    configure_logging(settings.logging)
    sweep_beside(settings)
