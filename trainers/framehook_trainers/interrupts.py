"""Ctrl-C, and a request to end, that wait for the end of a step, so that what is saved is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt(wanted: threading.Event) -> Iterator[None]:
    """Set `wanted` at the first Ctrl-C; a second one raises KeyboardInterrupt as usual.

    SIGTERM and SIGHUP, by which schedulers and closed terminals end a program, count as well where the program handles them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        if wanted.is_set() and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        wanted.set()

    others = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    kinds = [signal.SIGINT, *(kind for kind in others if callable(signal.getsignal(kind)))]
    before = {kind: signal.signal(kind, note) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
