"""A folder of results, of a stream or of a training, has one process at a time: two would cut off each other's files.

So has a file that lies in no folder of its own.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from framehook import OutputError

if sys.platform != "win32":
    import fcntl


@dataclass(slots=True)
class _Hold:
    """A folder or a file that this process holds."""

    descriptor: int
    """An open file: when it is closed, also because the process dies, it is free. -1: this system locks none."""
    users: int = 0
    files: set[str] = field(default_factory=set)
    """Names of the files in the folder that were begun since it is held."""


_holds: dict[Path, _Hold] = {}
_lock = threading.RLock()  # reentrant: the garbage collector may close a forgotten session at any moment


def hold(folder: Path, *, file: str | None = None) -> Callable[[], None]:
    """Create a folder, keep it from all other processes, and return what lets go of it.

    Within this process several may hold it: `files.py` keeps each of its files for one of them.

    Args:
        folder: there or not.
        file: the name of the file in it that it is held for, for `files_begun_in`.

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be created or opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    let_go = _hold(folder, os.O_RDONLY)
    if file is not None:
        _holds[folder.resolve()].files.add(file)
    return let_go


def files_begun_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder that were begun since this process holds it, as far as they are there."""
    held = _holds.get(folder.resolve())
    return sorted(name for name in (held.files if held else ()) if (folder / name).exists())


def hold_file(path: Path) -> Callable[[], None]:
    """Do the same for a file, which is created where there is none, and otherwise left as it is.

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be created or opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        return lambda: None  # a pipe would wait for its reader, and may have several writers
    return _hold(path, os.O_RDWR | os.O_CREAT)


def _hold(path: Path, flags: int) -> Callable[[], None]:
    resolved = path.resolve()
    with _lock:
        if resolved not in _holds:
            _holds[resolved] = _Hold(_locked(path, flags))
        _holds[resolved].users += 1
    return partial(_let_go, resolved)


def _locked(path: Path, flags: int) -> int:
    if sys.platform == "win32":
        return -1  # it locks files in another way, and no folders
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutputError(
            f"'{path}' is being written into by another process; wait for its end, or choose another folder or path"
        ) from error
    except OSError:
        pass  # some network file systems know no locks
    return descriptor


def _let_go(path: Path) -> None:
    with _lock:
        held = _holds[path]
        held.users -= 1
        if not held.users:
            del _holds[path]
            if held.descriptor >= 0 and sys.platform != "win32":
                with suppress(OSError):
                    fcntl.flock(held.descriptor, fcntl.LOCK_UN)  # else a process that was forked off meanwhile would keep it
                os.close(held.descriptor)
