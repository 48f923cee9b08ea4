"""Celery's consumer without the parts that jobs do not use."""

from celery.worker.consumer import Consumer as CeleryConsumer

UNUSED = (".mingle:", ".gossip:", ".delayed_delivery:")
"""Parts of Celery's consumer. Workers need not know each other, and retries wait in the database, not the broker."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Takes messages from the broker and hands them to the child processes."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        """The parts that are started, each after those that it needs."""

        default_steps = tuple(
            step
            for step in CeleryConsumer.Blueprint.default_steps
            if not any(name in str(step).lower() for name in UNUSED)
        )
