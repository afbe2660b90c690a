"""Long work in parts: shared by processes, each part written whole or not at all, so that a killed run can go on."""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from framehook import RunError
from framehook_plugins.whole import whole_file

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Task = TypeVar("Task", bound=Sized)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Parts(Generic[Task]):
    """The parts of one stage of the work, each a file of arrays."""

    folder: Path
    """Where the files are."""
    stage: str
    """How they are called."""
    work: Callable[[Task], Arrays]
    """Makes a part: a function that other processes can import."""

    def compute(self, tasks: Sequence[Task], pool: "Workers", *, progress: Callable[[int], None]) -> None:
        """Make the parts that are not there yet.

        Args:
            tasks: what each part is made from.
            pool: the processes that share the work.
            progress: told how many items of the tasks are done.
        """
        done = sum(len(task) for i, task in enumerate(tasks) if self._path(i).is_file())
        progress(done)
        missing = [_Job(self.work, task, self._path(i)) for i, task in enumerate(tasks) if not self._path(i).is_file()]
        for count in pool.map(_Job.run, missing):
            done += count
            progress(done)

    def read(self, i: int, *names: str, length: int) -> Arrays:
        """Return these arrays of the i-th part, or all; the first has a row for each of so many items."""
        path = self._path(i)
        try:
            with np.load(path) as loaded:
                arrays = {name: loaded[name] for name in names or loaded.files}
            if (rows := len(next(iter(arrays.values())))) != length:
                raise ValueError(f"it is of {rows} items, want {length}")
            return arrays
        except (AttributeError, EOFError, KeyError, StopIteration, TypeError, ValueError, BadZipFile) as error:
            raise RunError(f"'{path}' is damaged ({error}): delete it, and go on with --resume") from error

    def _path(self, i: int) -> Path:
        return self.folder / f"{self.stage}-{i:06}.npz"


class Workers:
    """Processes that share some work, or this one alone; each computes with one thread, for sums depend on their number.

    Where an error or an interruption ends the work, they are ended at once: what they were at is lost.

    Args:
        number: of processes; with 1 the work is done here.
    """

    def __init__(self, number: int) -> None:
        self._strangers = set(multiprocessing.active_children())
        # Spawned, for a forked process inherits torch's locked thread pools.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(number, mp_context=context, initializer=_begin_process) if number > 1 else None

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield what `work` returns of each task, in order.

        Raises:
            RunError: a process was killed.
        """
        if self._pool is None:
            with _one_thread():
                yield from map(work, tasks)
            return
        try:
            yield from self._pool.map(work, tasks)
        except BrokenProcessPool as error:
            raise RunError("a worker process was killed, perhaps for want of memory: use fewer workers, and --resume") from error

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is None:
            return
        if error is not None:
            # To wait for them is to be interrupted in it, after which the pool's own clearing up waits for ever.
            for process in set(multiprocessing.active_children()) - self._strangers:
                process.kill()
        self._pool.shutdown(cancel_futures=True)


def map_over_processes(work: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int) -> Iterator[Result]:
    """Yield what `work` returns of each task, in order, computed by so many processes.

    Raises:
        RunError: a process was killed.
    """
    with Workers(workers) as pool:
        yield from pool.map(work, tasks)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(data)


@dataclass(frozen=True, slots=True)
class _Job(Generic[Task]):
    """One part to make."""

    work: Callable[[Task], Arrays]
    task: Task
    path: Path

    def run(self) -> int:
        """Make the part, and return how many items it holds."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **self.work(self.task))
        write_whole(self.path, file.getvalue())
        return len(self.task)

    def __len__(self) -> int:
        return len(self.task)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """End this process where its parent was killed: it would wait for work for ever, and write beside who resumes it."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
