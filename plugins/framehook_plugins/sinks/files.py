"""Which file the results of a stream go to, and how files are opened, written and closed."""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from framehook import OptionError, OutputError, StreamInfo, StreamStatistics, UsageError, expand_home
from framehook_plugins.sinks.folders import hold, hold_file

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]' if os.name == "nt" else r"[/\x00]")
_LONGEST_NAME = 200  # bytes; file systems take 255, and what the template adds needs room
_FIELD = "{stream}"


class Closable(Protocol):
    """Anything that a stream's results are written into."""

    def close(self) -> None:
        """Finish the file."""
        ...


F = TypeVar("F", bound=Closable)


class StreamFiles(Generic[F]):
    """The open files of one sink: one for each stream, or one for all where the path does not name the stream.

    Args:
        make: opens a file at a path, for a stream.
        path: where the file is; `{stream}` stands for the stream's name.
        out: the folder that a relative path is under.
        shareable: whether one file can hold several streams.
        place: says where the file of a stream is instead, such as with another ending.

    Raises:
        OptionError: a path with another field than `{stream}`.
    """

    def __init__(
        self,
        make: Callable[[Path, StreamInfo], F],
        *,
        path: str,
        out: Path,
        shareable: bool = True,
        place: Callable[[Path, StreamInfo], Path] = lambda path, stream: path,
    ) -> None:
        unknown = [field for field in re.findall(r"\{\w*\}", path) if field != _FIELD]
        if unknown:
            raise OptionError(f"path '{path}' has the unknown field {unknown[0]}; the only one is {_FIELD}")
        if not Path(path).name:
            raise OptionError(f"path '{path}' names no file; give it a name, such as {_FIELD}/results.csv")
        self._make = make
        self._template = str(expand_home(path))  # before the name of a stream is put in, which may begin with ~
        self._out = out
        self._shareable = shareable
        self._place = place
        self._per_stream = _FIELD in path
        self._files: dict[str, tuple[F, ExitStack]] = {}  # each with what closes it

    def open(self, stream: StreamInfo) -> None:
        """Open the stream's file, where it is not open yet.

        Raises:
            OptionError: a second stream, with a path for one file and a kind of file that holds one stream.
            OutputError: a place that cannot be written, or is being written by another sink, run, session or process.
            UsageError: a stream of this name that is open already.
        """
        if self._per_stream and stream.name in self._files:
            raise UsageError(f"two streams are called '{stream.name}' and would write into one file; give each its own name")
        if self._per_stream or not self._files:
            path = self.path(stream)
            keep_source(path, stream)
            with ExitStack() as closing:
                if self.in_own_folder:
                    with output_errors(path):
                        closing.callback(hold(path.parent, file=path.name))
                closing.callback(_release, _claim(path, self))
                if not self.in_own_folder:
                    with output_errors(path):
                        closing.callback(hold_file(path))
                file = self._make(path, stream)
                closing.callback(file.close)
                self._files[self._key(stream)] = file, closing.pop_all()
        elif not self._shareable:
            raise OptionError(
                f"'{self._template}' can hold one stream only, and '{stream.name}' is the second; put {_FIELD} into the path"
            )

    def of(self, stream: StreamInfo) -> F:
        """Return the stream's open file.

        Raises:
            UsageError: a stream that was not opened, or has ended.
        """
        try:
            return self._files[self._key(stream)][0]
        except KeyError:
            raise UsageError(f"stream '{stream.name}' is not open in this sink: call open() before its first result") from None

    def end(self, stream: StreamInfo) -> None:
        """Close the stream's own file; one that all streams share stays open for the others."""
        if self._per_stream and stream.name in self._files:
            _, closing = self._files.pop(stream.name)
            closing.close()

    def close(self) -> None:
        """Close all files, even when closing one of them raises."""
        with ExitStack() as stack:
            for _, closing in self._files.values():
                stack.push(closing)
            self._files = {}

    def _key(self, stream: StreamInfo) -> str:
        return stream.name if self._per_stream else ""

    def path(self, stream: StreamInfo) -> Path:
        """Return where the stream's file is."""
        return self._place(self._out / self._template.replace(_FIELD, file_name(stream.name)), stream)

    @property
    def in_own_folder(self) -> bool:
        """Whether each stream's file is in a folder that is the stream's."""
        return _FIELD in str(Path(self._template).parent)


_writers: WeakValueDictionary[Path, StreamFiles[Any]] = WeakValueDictionary()
"""Who writes each file of this process; weak, so that a session which was forgotten and never closed holds none for ever."""
_writers_lock = threading.RLock()  # reentrant, as in `folders.py`


def _claim(path: Path, writer: StreamFiles[Any]) -> Path:
    """Keep a file from all other writers, who would destroy what is in it, and return what to release."""
    with output_errors(path), _writers_lock:
        if path.exists() and not path.is_file():  # a pipe or a device loses nothing when several write into it
            return path
        file = path.resolve()
        if file in _writers:
            raise OutputError(
                f"'{path}' is being written already, by another session, run or sink; give each a path of its own, "
                f"with {_FIELD} in it and sessions of different names"
            )
        _writers[file] = writer
        return file


def keep_source(path: Path, stream: StreamInfo) -> None:
    """See that nothing is written over the recording that is being read.

    Raises:
        OutputError: the path is the stream's own file.
    """
    with output_errors(path):
        if path.is_file() and stream.location and Path(stream.location).is_file() and path.samefile(stream.location):
            raise OutputError(f"cannot write '{path}': it is the file that is being analysed; choose another folder or path")


def _release(file: Path) -> None:
    with _writers_lock:
        _writers.pop(file, None)


class FileSink(Generic[F]):
    """What the sinks have in common: a stream's file is created when it begins, and finished when it ends."""

    _files: StreamFiles[F]

    def open(self, stream: StreamInfo) -> None:
        """Create the file."""
        self._files.open(stream)

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Finish the stream's file."""
        self._files.end(stream)

    def close(self) -> None:
        """Finish all files."""
        self._files.close()


class TextFile:
    """A UTF-8 file that grows, and of which every piece is on its way to the disk as soon as it was written.

    Those who follow a live stream see each result at once, and a killed process loses nothing. Where the disk is full, the file
    ends with the last piece that was written as a whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Names of files can hold bytes that are no text; as \udc.. they are written, and to JSON they are an escape.
            self._file = path.open("wb", buffering=0)
        self._whole = 0  # bytes
        self._failure: OSError | None = None

    def write(self, text: str) -> None:
        """Append text."""
        content = memoryview(text.encode("utf-8", "backslashreplace"))
        with output_errors(self._path):
            try:
                left = content
                while left:
                    left = left[self._file.write(left) or 0 :]
            except OSError as error:
                with suppress(OSError):  # what is no ordinary file has no length
                    self._file.seek(self._whole)
                    self._file.truncate()
                self._failure = error
                raise
        self._whole += len(content)

    def close(self) -> None:
        """Let go of the file, and say once more what could not be written; a second call is harmless."""
        with output_errors(self._path):
            self._file.close()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into one line that names the file.

    Raises:
        OutputError: a place that cannot be written.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write '{path}': {error.strerror or error}; make room or allow writing there, or choose another folder"
        ) from error


def file_name(stream: str) -> str:
    """Return the stream's name as one that a file or folder can have.

    Most names are returned as they are. One that no file can have is changed and marked with a part of its hash, so that
    different streams never share a file, and the same stream always has the same.
    """
    name = _FORBIDDEN.sub("_", stream).encode("utf-8", "ignore")[:_LONGEST_NAME].decode("utf-8", "ignore")
    if os.name == "nt":
        name = name.rstrip(" .")
    if name == stream and stream.strip("."):
        return stream
    digest = hashlib.sha256(stream.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{name.strip('.') or 'stream'}-{digest}"
