"""The command line: `service ...`; each command is thin over the room that does the work."""

from ml_microservice.cli import gating, jobs, jobs_worker, logging, modelling, monitoring, records, serving, smoke
from ml_microservice.cli.app import app, main

__all__ = [
    "app",
    "gating",
    "jobs",
    "jobs_worker",
    "logging",
    "main",
    "modelling",
    "monitoring",
    "records",
    "serving",
    "smoke",
]
