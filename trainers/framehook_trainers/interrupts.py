"""Ctrl-C that waits for the end of a step, so that what is saved is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt(wanted: threading.Event) -> Iterator[None]:
    """Set `wanted` at the first Ctrl-C; a second one raises KeyboardInterrupt as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        if wanted.is_set():
            signal.default_int_handler(number, frame)
        wanted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
