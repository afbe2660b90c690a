"""Closing what nobody else closes: what has failed, and what a program leaves open, while its threads can still finish files."""

import atexit
import logging
import weakref
from typing import Protocol

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


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(opened: Closable) -> None:
    """Have this closed when the program ends, unless nobody holds it any more by then."""
    _open.add(opened)


@atexit.register
def _close_all() -> None:
    for opened in list(_open):
        try:
            opened.close()
        except FramehookError as failure:
            log.error("%s", failure)
        except Exception as error:  # the others are to be closed all the same
            log.error("what was left open could not be closed: %s: %s", type(error).__name__, error)
