"""The command line `ml-service`: each command is thin over the room that does the work.

A command imports that room, and what prints, when it runs: `ml-service serve` starts without rich and without what
trains, and a command works where the extras of the others are not installed.
"""

from ml_microservice.cli import gate, jobs, jobs_worker, logging, model, monitoring, records, serve, smoke
from ml_microservice.cli.app import app, main

__all__ = [
    "app",
    "gate",
    "jobs",
    "jobs_worker",
    "logging",
    "main",
    "model",
    "monitoring",
    "records",
    "serve",
    "smoke",
]
