"""A queue whose consumer takes everything that waits as one batch."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BatchQueue(Generic[Item]):
    """Hands items from many producers to one consumer, in batches.

    Args:
        count_chunks: counts the chunks of an item.
        max_items: a batch with so many items is full.
        max_chunks: a batch with so many chunks is full.
        pause_seconds: shortest time between two batches. The first one is never delayed.
    """

    def __init__(
        self,
        count_chunks: Callable[[Item], int],
        *,
        max_items: int | None = None,
        max_chunks: int,
        pause_seconds: float = 0.0,
    ) -> None:
        self._count_chunks = count_chunks
        self._max_items = max_items
        self._max_chunks = max_chunks
        self._pause_seconds = pause_seconds
        self._items: SimpleQueue[Item | None] = SimpleQueue()
        self._taken_at = float("-inf")

    def put(self, item: Item) -> None:
        """Add an item."""
        self._items.put(item)

    def close(self) -> None:
        """Have the consumer end once it has taken what is in the queue."""
        self._items.put(None)

    def take(self) -> list[Item]:
        """Wait for an item, and take all that are there then; empty once the queue is closed."""
        first = self._items.get()
        if first is None:
            return []
        sleep(max(0.0, self._taken_at + self._pause_seconds - monotonic()))
        batch, chunks = [first], self._count_chunks(first)
        while (self._max_items is None or len(batch) < self._max_items) and chunks < self._max_chunks:
            try:
                item = self._items.get_nowait()
            except Empty:
                break
            if item is None:
                self._items.put(None)
                break
            batch.append(item)
            chunks += self._count_chunks(item)
        self._taken_at = monotonic()
        return batch
