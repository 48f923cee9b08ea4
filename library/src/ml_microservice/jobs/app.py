"""Celery's application, for its own tools: `celery --app ml_microservice.jobs.app ...` in the project's folder."""

from ml_microservice.jobs.queue import celery_app
from ml_microservice.settings import load_settings

app = celery_app(load_settings())
