"""A run over sources, as the caller sees it."""

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

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FrameResult:
        return next(self._results)

    @property
    def statistics(self) -> Mapping[str, StreamStatistics]:
        """How each stream went so far, by name."""
        return self._engine.statistics()

    def close(self) -> None:
        """End the run as the end of its streams would; a second call is harmless."""
        self._results.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
