"""The Celery application for Celery's own tools: `celery --app ml_microservice.jobs.queue.app ...`."""

from ml_microservice.jobs.queue.celery_app import celery_app
from ml_microservice.settings import load_settings

app = celery_app(load_settings())
