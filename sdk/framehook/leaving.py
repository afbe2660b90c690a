"""Closing what nobody else closes: what has failed, and what a program leaves open, while its threads can still finish files."""

import atexit
import logging
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from framehook.errors import FramehookError

log = logging.getLogger("framehook")


class Closable(Protocol):
    """A run, a session, a sink or a source."""

    def close(self) -> None:
        """Finish its files and let go of its devices; a second call is harmless."""
        ...


def close_quietly(failed: Closable) -> None:
    """Let what has failed, and was told of, finish what it can: it may well fail once more."""
    try:
        failed.close()
    except (Exception, SystemExit) as error:
        log.debug("closing %s, which had failed, failed too: %s", type(failed).__name__, error)


T = TypeVar("T")

_open: weakref.WeakKeyDictionary[object, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def close_at_exit(opened: T, close: Callable[[T], None]) -> None:
    """Have this closed when the program ends, unless nobody holds it any more by then."""
    _open[opened] = close


def close_left(opened: T, close: Callable[[T], None]) -> None:
    """Close what somebody left open: whom could an error be raised to?"""
    try:
        close(opened)
    except FramehookError as failure:
        log.error("%s", failure)
    except Exception as error:
        log.error("what was left open could not be closed: %s: %s", type(error).__name__, error)


@atexit.register
def _close_all() -> None:
    for opened, close in list(_open.items()):
        close_left(opened, close)
