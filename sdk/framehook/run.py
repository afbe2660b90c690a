"""A run over sources, as the caller sees it."""

import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from framehook.engine import Engine
from framehook.results import FrameResult, StreamStatistics


class Run(Iterator[FrameResult]):
    """Results as they come; leaving the loop, or `close()`, ends the threads and closes the files.

    Iterating raises what went wrong: a `StageError` of a plugin, or a `SourceError` once the other sources are done.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._results = engine.results()
        self._iterating = threading.Lock()

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

        Another thread, or a signal's handler, may call it while the loop waits for a result: the loop gets what is on its way,
        and ends.
        """
        if self._iterating.acquire(blocking=False):
            try:
                self._results.close()
            finally:
                self._iterating.release()
        else:
            self._engine.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
