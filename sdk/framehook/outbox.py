"""What one thread hands to another, at the latter's pace until nobody may come for it any more."""

import math
import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """A queue whose producer waits while it is full; once it is wide it takes all that comes.

    Args:
        room: how many items may wait.
    """

    def __init__(self, room: int) -> None:
        self._items: deque[Item] = deque()
        self._room: float = room
        self._changed = threading.Condition()  # reentrant: a signal's handler may widen it at any moment

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item at the end."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._room)
            self._items.append(item)
            self._changed.notify_all()

    def take(self, *, wait_seconds: float | None = None) -> Item:
        """Wait for an item and take the oldest.

        Args:
            wait_seconds: how long at most; None: as long as it takes.

        Raises:
            TimeoutError: none has come by then.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items, wait_seconds):
                raise TimeoutError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def widen(self) -> None:
        """Let nobody wait for room any more."""
        with self._changed:
            self._room = math.inf
            self._changed.notify_all()
