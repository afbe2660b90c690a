"""A run over sources, as the caller sees it."""

import inspect
import logging
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import NoReturn, Self

from framehook.engine import Engine
from framehook.errors import FramehookError, UsageError
from framehook.leaving import close_at_exit
from framehook.results import FrameResult, StreamStatistics

log = logging.getLogger("framehook")

_WAIT_SECONDS = 10.0  # for a run that another thread iterates; sources that hang are left behind before


class Run(Iterator[FrameResult]):
    """Results as they come; leaving the loop, or `close()`, ends the threads and closes the files.

    Iterating raises what went wrong: a `StageError` of a plugin, or a `SourceError` once the other sources are done.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._results = engine.results()
        self._iterating = threading.RLock()  # reentrant: a signal's handler may close the run on the thread that iterates
        self._iterator: int | None = None
        close_at_exit(self, Run.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        if not self._engine.is_ours():
            raise UsageError("a run belongs to the process that made it, and this one was forked off: make another run here")
        with self._iterating:
            self._iterator = threading.get_ident()
            return next(self._results)

    @property
    def statistics(self) -> Mapping[str, StreamStatistics]:
        """How each stream went so far, by name."""
        return self._engine.statistics()

    def close(self) -> None:
        """End the run as the end of its streams would; a second call is harmless.

        Another thread, a signal's handler or a plugin may call it while the loop goes on: the loop gets what is on its way, and
        ends. Another thread waits, for ten seconds at most, until the files are whole, which needs no loop.

        Raises:
            StageError, OutputError: a sink failed while the run was being closed.
        """
        engine = self._engine
        if not engine.is_ours():
            return
        engine.stop()
        if engine.runs_here():
            return
        if self._iterator in (None, threading.get_ident()) and self._iterating.acquire(blocking=False):
            try:
                if inspect.getgeneratorstate(self._results) == inspect.GEN_RUNNING:  # and this is a signal's handler
                    return
                self._results.close()
                engine.leave_unrun()
            finally:
                self._iterating.release()
        if not engine.ends_within(_WAIT_SECONDS):
            log.warning("a run that was closed does not end: its threads go on alone, and what they write may not be whole")
        failure, engine.failure = engine.failure, None
        if failure is not None:
            raise failure

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Run can be neither copied nor pickled: send its results, or make it in the process that uses it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except FramehookError as failure:
            if error is None:
                raise
            log.error("%s", failure)  # what came first is raised
