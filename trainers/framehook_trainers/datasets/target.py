"""The folder that is prepared: it appears as a whole, and what was there before stays until then."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from framehook import FramehookError, OutputError, RunError, UsageError
from framehook_plugins.sinks.folders import hold
from framehook_trainers.datasets.faces import FACTS, read_facts
from framehook_trainers.datasets.parts import write_whole

_SETTINGS = "settings.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Target:
    """The folder `out`, built beside it as `out.part` and renamed when it is complete.

    Args:
        out: where the faces are to lie.
    """

    def __init__(self, out: Path) -> None:
        self._out = Path(os.path.abspath(out))  # noqa: PTH100  # no symbolic link is followed: it may be the user's own name
        self._old = self._out.with_name(f".{self._out.name}.replaced")
        self.part = self._out.with_name(f"{self._out.name}.part")
        """Where the new faces are built."""
        self.work = self.part / "work"
        """What only the building needs."""
        self._let_go: Callable[[], None] | None = None

    def check(self, settings: Mapping[str, Any], *, resume: bool, replace: bool) -> bool:
        """Say whether there is anything to do.

        Args:
            settings: that the faces are asked for with.
            resume: go on with what was begun, or leave be what is complete.
            replace: prepare anew, though there are faces.

        Raises:
            UsageError: the folder holds something else, or faces, or an unfinished preparation that is not to be resumed, or
                that was begun with other settings.
        """
        self._tidy()
        is_complete = (self._out / FACTS).is_file()
        is_begun = self.part.exists()
        if is_complete and resume and not is_begun and not replace:
            _check_same(read_facts(self._out)["settings"], settings, self._out)
            return False
        if is_complete and not (replace or (resume and is_begun)):
            raise UsageError(
                f"'{self._out}' holds prepared faces: name another --out, or prepare them anew with --replace "
                "(they stay until the new ones are complete)"
            )
        if self._out.exists() and not self._out.is_dir():
            raise UsageError(f"'{self._out}' is a file: name a folder as --out")
        for folder, is_ours in ((self._out, is_complete), (self.part, self.work.is_dir())):
            if not is_ours and folder.is_dir() and any(folder.iterdir()):
                raise UsageError(f"'{folder}' holds other files: name an --out that is empty or not there")
        if is_begun and not (resume or replace):
            raise UsageError(f"an unfinished preparation lies in '{self.part}': go on with --resume, or remove it")
        return True

    def begin(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder that is built, or go on with it.

        Raises:
            UsageError: it was begun with other settings.
            RunError: what says with which is damaged.
            OutputError: another process is at work there.
        """
        path = self.work / _SETTINGS
        if path.is_file():
            self._let_go = hold(self.part)  # two processes would write the same parts
            if resume:
                _check_same(self._begun(path), settings, self.part)
                return
            self._release()
        shutil.rmtree(self.part, ignore_errors=True)
        self.work.mkdir(parents=True)
        self._let_go = hold(self.part)
        write_whole(path, json.dumps(settings).encode())

    def _begun(self, path: Path) -> Mapping[str, Any]:
        """Return the settings that the unfinished preparation was begun with."""
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"'{path}' is damaged ({error}): remove '{self.part}', and prepare anew") from error
        if not isinstance(begun, dict):
            raise RunError(f"'{path}' is damaged (no settings in it): remove '{self.part}', and prepare anew")
        return begun

    def _release(self) -> None:
        if self._let_go is not None:
            let_go, self._let_go = self._let_go, None
            let_go()

    def _tidy(self) -> None:
        """Bring to its end what was killed while it put the new folder in the place of the old one."""
        if self._old.exists() and not self._out.exists():
            self._old.rename(self._out)
        if (self._out / FACTS).is_file():
            shutil.rmtree(self._out / self.work.name, ignore_errors=True)

    def clear(self, name: str) -> Path:
        """Return a path in the folder that is built, with nothing there: an interrupted run may have left a piece."""
        path = self.part / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        return path

    def finish(self) -> None:
        """Put the new folder in the place of the old one."""
        shutil.rmtree(self._old, ignore_errors=True)
        if self._out.exists():
            self._out.rename(self._old)
        self.part.rename(self._out)
        shutil.rmtree(self._old, ignore_errors=True)
        shutil.rmtree(self._out / self.work.name, ignore_errors=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Turn the operating system's errors into one line that names the folder, and let others have it in the end.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            yield
        except FramehookError:
            raise
        except OSError as error:
            what = "free some space" if error.errno in _FULL else "allow writing there"
            kept = f"; the faces in '{self._out}' are as they were" if self._out.exists() else ""
            raise OutputError(
                f"cannot write '{error.filename or self.part}': {error.strerror or error}; {what} and go on with --resume{kept}"
            ) from error
        finally:
            self._release()


def _check_same(begun: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as in the file
    differ = [f"{name} {begun.get(name)}, got {value}" for name, value in wanted.items() if begun.get(name) != value]
    if differ:
        raise UsageError(f"'{folder}' was prepared with {'; '.join(differ)}: resume it with the same, or name another --out")
