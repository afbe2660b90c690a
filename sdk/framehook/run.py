"""A run over sources, as the caller sees it."""

import logging
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from framehook.engine import Engine
from framehook.errors import FramehookError
from framehook.leaving import close_at_exit
from framehook.results import FrameResult, StreamStatistics

log = logging.getLogger("framehook")


class Run(Iterator[FrameResult]):
    """Results as they come; leaving the loop, or `close()`, ends the threads and closes the files.

    Iterating raises what went wrong: a `StageError` of a plugin, or a `SourceError` once the other sources are done.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._results = engine.results()
        self._iterating = threading.Lock()
        close_at_exit(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        with self._iterating:
            return next(self._results)

    @property
    def statistics(self) -> Mapping[str, StreamStatistics]:
        """How each stream went so far, by name."""
        return self._engine.statistics()

    def close(self) -> None:
        """End the run as the end of its streams would; a second call is harmless.

        Another thread, a signal's handler or a plugin may call it while the loop goes on: the loop gets what is on its way, and
        ends.

        Raises:
            StageError, OutputError: a sink failed while the run was being closed.
        """
        if self._engine.runs_here() or not self._iterating.acquire(blocking=False):
            self._engine.stop()
            return
        try:
            self._results.close()
            self._engine.leave_unrun()
        finally:
            self._iterating.release()
        failure, self._engine.failure_after_leaving = self._engine.failure_after_leaving, None
        if failure is not None:
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except FramehookError as failure:
            if error is None:
                raise
            log.error("%s", failure)  # what came first is raised
