"""Celery's application, for its own tools: `celery --app service.jobs.app ...` in the project's folder."""

from service.jobs.queue import celery_app
from service.settings import load_settings

app = celery_app(load_settings())
