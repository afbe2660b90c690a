"""Frames that wait for inference: a short queue for each stream, taken from in turn."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

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
        together: says of a stream, and of what waits of it, how many items belong together from the first one on: these are
            taken at once. 0: some are still to come, and are waited for until the queue is full; None: each is for itself.
    """

    def __init__(
        self, *, streams: int, together: Callable[[Key, Sequence[Item]], int | None] = lambda _key, _items: None
    ) -> None:
        self._waiting: dict[Key, deque[Any]] = {}  # items, and at last _END
        self._room: dict[Key, int] = {}
        self._live: set[Key] = set()
        self._once: set[Key] = set()  # from which is taken once, and then from others first
        self._ended: set[Key] = set()
        self._left = streams
        self._together = together
        self._stopped = False
        self._changed = threading.Condition()

    def put(self, key: Key, item: Item, *, live: bool, room: int) -> tuple[bool, int]:
        """Queue an item of a stream.

        Args:
            key: the stream's.
            item: what is queued.
            live: whether the oldest ones go where there is no room.
            room: how many of a recorded stream may wait.

        Returns:
            Whether it was taken (never once the inbox is stopped), and how many older ones were dropped for it.
        """
        with self._changed:
            queue = self._waiting.setdefault(key, deque())
            dropped = 0
            if live:
                self._live.add(key)
                self._once.add(key)
                while len(queue) >= _LIVE_CAPACITY:
                    queue.popleft()
                    dropped += 1
            else:
                self._room[key] = room
                self._changed.wait_for(lambda: len(queue) < room or self._stopped)
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
        """Wait for items and take up to `most`, from the streams in turn; what belongs together counts as one.

        Returns:
            The items, in order within each stream, and the streams that have ended after them; None when all have ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(map(self._at_once, self._waiting)) or not self._left)
            if not self._left:
                return None
            items: list[tuple[Key, Item]] = []
            ended: list[Key] = []
            served: set[Key] = set()
            taken = 0
            while taken < most and (keys := [key for key in self._waiting if key not in served and self._at_once(key)]):
                for key in keys[: most - taken]:
                    queue = self._waiting[key]
                    portion = [queue.popleft() for _ in range(self._at_once(key))]
                    if portion == [_END]:
                        del self._waiting[key]
                        self._left -= 1
                        ended.append(key)
                        continue
                    items += [(key, item) for item in portion]
                    taken += 1
                    if key in self._once:
                        served.add(key)
            if items:  # who was served goes to the back of the line
                for key in dict.fromkeys(key for key, _ in items):
                    if key in self._waiting:
                        self._waiting[key] = self._waiting.pop(key)
            self._changed.notify_all()
            return items, ended

    def _at_once(self, key: Key) -> int:
        """Return how much of a stream's queue is to be taken at once; its end stands alone."""
        queue = self._waiting[key]
        items = [item for item in queue if item is not _END]
        if not items:
            return len(queue)
        together = None if key in self._live else self._together(key, items)
        if together is None:
            return 1
        self._once.add(key)
        complete = len(items) < len(queue) or len(items) >= self._room[key]
        return together or (len(items) if complete else 0)

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
