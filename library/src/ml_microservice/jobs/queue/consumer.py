"""Celery's consumer without the parts that jobs have no use for."""

from celery.worker.consumer import Consumer as CeleryConsumer

UNUSED = (".mingle:", ".gossip:", ".delayed_delivery:")
"""Workers need not know each other, and retries wait in the database, not in 28 queues of the broker."""


def _is_unused(step: object) -> bool:
    return any(name in str(step) for name in UNUSED)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Takes messages and hands them to the processes of the worker."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        """The parts that are started, in the order of what they need."""

        default_steps = tuple(
            step
            for step in CeleryConsumer.Blueprint.default_steps
            if not any(name in str(step).lower() for name in UNUSED)
        )
