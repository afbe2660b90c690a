"""Frames that wait for inference: a short queue for each stream, taken from in turn."""

import threading
from collections import deque
from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")

_END = object()
_LIVE_CAPACITY = 2  # one would lose frames that come in pairs


class Inbox(Generic[Key, Item]):
    """Bounded queues of several producers for one consumer.

    A recorded stream's producer waits while its queue is full, so that no frame is lost. A live one's never waits: the oldest
    frame goes, and at most one is taken at a time, so that what is taken is new.

    Args:
        streams: how many will end before the inbox is done.
        capacity: items that may wait in a recorded stream's queue.
    """

    def __init__(self, *, streams: int, capacity: int) -> None:
        self._waiting: dict[Key, deque[object]] = {}
        self._live: set[Key] = set()
        self._ended: set[Key] = set()
        self._left = streams
        self._capacity = capacity
        self._stopped = False
        self._changed = threading.Condition()

    def put(self, key: Key, item: Item, *, live: bool) -> tuple[bool, int]:
        """Queue an item of a stream.

        Returns:
            Whether it was taken (never once the inbox is stopped), and how many older ones were dropped for it.
        """
        with self._changed:
            queue = self._waiting.setdefault(key, deque())
            dropped = 0
            if live:
                self._live.add(key)
                while len(queue) >= _LIVE_CAPACITY:
                    queue.popleft()
                    dropped += 1
            else:
                self._changed.wait_for(lambda: len(queue) < self._capacity or self._stopped)
            if self._stopped:
                return False, dropped
            queue.append(item)
            self._changed.notify_all()
            return True, dropped

    def end(self, key: Key) -> None:
        """Say that a stream has no more items; a second time says nothing new."""
        with self._changed:
            if key in self._ended:
                return
            self._ended.add(key)
            self._waiting.setdefault(key, deque()).append(_END)
            self._changed.notify_all()

    def take(self, most: int) -> tuple[list[tuple[Key, Item]], list[Key]] | None:
        """Wait for items and take up to `most`, from the streams in turn.

        Returns:
            The items, in order within each stream, and the streams that have ended after them; None when all have ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(self._waiting.values()) or not self._left)
            if not self._left:
                return None
            items: list[tuple[Key, Item]] = []
            ended: list[Key] = []
            served: set[Key] = set()
            while len(items) < most and (keys := [key for key, queue in self._waiting.items() if queue and key not in served]):
                for key in keys[: most - len(items)]:
                    item = self._waiting[key].popleft()
                    if item is _END:
                        del self._waiting[key]
                        self._left -= 1
                        ended.append(key)
                        continue
                    items.append((key, item))  # type: ignore[arg-type]  # whatever is not the end is an item
                    if key in self._live:
                        served.add(key)
            if items:  # who was served goes to the back of the line
                for key in dict.fromkeys(key for key, _ in items):
                    if key in self._waiting:
                        self._waiting[key] = self._waiting.pop(key)
            self._changed.notify_all()
            return items, ended

    def stop(self, *, discard: bool) -> list[Key]:
        """Take no more items.

        Args:
            discard: throw away what waits, too.

        Returns:
            The streams that lost items by it.
        """
        with self._changed:
            self._stopped = True
            losers = []
            if discard:
                for key, queue in self._waiting.items():
                    kept = [item for item in queue if item is _END]
                    if len(kept) < len(queue):
                        losers.append(key)
                    queue.clear()
                    queue.extend(kept)
            self._changed.notify_all()
            return losers
