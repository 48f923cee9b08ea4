"""The message queue between the service and its workers: Celery on RabbitMQ, on Redis or on a folder."""
