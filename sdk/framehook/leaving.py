"""What a program leaves open is closed at its end, while the threads are still there to finish the files."""

import atexit
import logging
import weakref
from typing import Protocol

from framehook.errors import FramehookError

log = logging.getLogger("framehook")


class Closable(Protocol):
    """A run or a session."""

    def close(self) -> None:
        """Finish its files; a second call is harmless."""
        ...


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
