"""Handing results to sinks: opening them in time, ending them whole, and what happens when one of them fails."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import pluggy

from framehook import hookspecs
from framehook.contracts import AmendingSink, Sink, StreamSink, keeps
from framehook.errors import FramehookError, StageError
from framehook.frame import StreamInfo
from framehook.leaving import close_quietly
from framehook.results import FrameResult, StreamStatistics
from framehook.stream_state import StreamState

log = logging.getLogger("framehook")

OnError: TypeAlias = Literal["raise", "isolate"]
"""What a failing sink does: end the run, or leave it, with a warning, while the others go on."""


class HookSink:
    """Tells a plugin's hooks when streams start and end, as a sink is told."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._hook = manager.hook

    def open(self, stream: StreamInfo) -> None:
        """Tell that a stream has started."""
        self._hook.framehook_stream_started(stream=stream)

    def write(self, result: FrameResult) -> None:
        """Tell nothing: hooks are not called for frames."""

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Tell that a stream has ended."""
        self._hook.framehook_stream_ended(stream=stream, statistics=statistics)

    def close(self) -> None:
        """Nothing is held."""


def hook_sinks(manager: pluggy.PluginManager) -> list[tuple[str, Sink]]:
    """Return a sink for each plugin that hears of streams, and its name for messages: if one fails, the others hear on."""
    hooks = (manager.hook.framehook_stream_started, manager.hook.framehook_stream_ended)
    listeners = {each.plugin_name: each.plugin for hook in hooks for each in reversed(hook.get_hookimpls())}  # as pluggy calls
    sinks: list[tuple[str, Sink]] = []
    for name, plugin in listeners.items():
        alone = pluggy.PluginManager(manager.project_name)
        alone.add_hookspecs(hookspecs)
        alone.register(plugin)
        sinks.append((f"hooks of {name}", HookSink(alone)))
    return sinks


class Delivery:
    """The sinks of one run, in order. Not for several threads at once.

    Args:
        sinks: each with the name to call it by in messages.
        on_error: what a failing sink does.
    """

    def __init__(self, sinks: Sequence[tuple[str, Sink]], *, on_error: OnError) -> None:
        self._sinks = list(sinks)
        self._on_error = on_error
        self._lost: tuple[str, ...] = ()
        self._open: dict[str, StreamState] = {}
        self._amending = [sink for _, sink in sinks if keeps(sink, AmendingSink)]
        self._ended: list[tuple[StreamInfo, StreamStatistics]] = []  # what these have been told

    def write(self, state: StreamState, result: FrameResult) -> None:
        """Give one result to every sink, which is opened for the stream if this is its first.

        Raises:
            StageError: a sink failed, unless sinks are isolated.
        """
        start = time.perf_counter()
        if state.stream.name not in self._open:
            self._open[state.stream.name] = state
            self._each(state, "starting", lambda sink: sink.open(state.stream))
        self._each(state, "writing", lambda sink: sink.write(result), result=result)
        state.counters.spend("write", time.perf_counter() - start)

    def end(self, state: StreamState) -> None:
        """Tell every sink that a stream has ended; one that was never opened is passed over.

        Raises:
            StageError: a sink failed, unless sinks are isolated; the others have been told all the same.
        """
        if self._open.pop(state.stream.name, None) is None:
            return

        def end(sink: Sink) -> None:
            state.counters.lost_sinks = self._lost  # also one that failed just now
            if keeps(sink, StreamSink):
                sink.end(state.stream, state.counters.statistics(state.stream.name))

        before = self._lost
        try:
            self._each(state, "ending", end)
        finally:
            state.counters.lost_sinks = self._lost
            ended = state.stream, state.counters.statistics(state.stream.name)
            if self._lost != before:  # one failed, perhaps after others had been told
                self._amend([ended])
            if self._amending:
                self._ended.append(ended)

    def close(self) -> None:
        """End what is still open and close every sink, whatever some of them raise; a second call is harmless.

        Raises:
            StageError: the first failure, unless sinks are isolated.
        """
        failures: list[FramehookError] = []
        unfinished = False
        for state in list(self._open.values()):
            try:
                self.end(state)
            except FramehookError as error:
                failures.append(error)
        while self._sinks:
            name, sink = self._sinks.pop(0)
            try:
                sink.close()
            except (Exception, SystemExit) as cause:
                failures.append(_failure(name, "closing", cause))
                self._lost += (name,)
                self._ended = [(stream, replace(last, lost_sinks=(*last.lost_sinks, name))) for stream, last in self._ended]
                unfinished = True
        if unfinished:
            self._amend(self._ended)
        self._ended.clear()
        if failures and self._on_error == "raise":
            for failure in failures[1:]:
                log.error("%s", failure)
            raise failures[0]
        for failure in failures:
            log.error("%s", failure)

    def _amend(self, ended: Sequence[tuple[StreamInfo, StreamStatistics]]) -> None:
        """Tell those sinks that vouch for the others that one of these was lost since."""
        for sink in self._amending:
            for stream, statistics in ended:
                try:
                    sink.amend(stream, statistics)
                except (Exception, SystemExit) as error:
                    log.error("what was said of stream '%s' could not be corrected: %s", stream.name, error)

    def _each(self, state: StreamState, doing: str, call: Callable[[Sink], None], *, result: FrameResult | None = None) -> None:
        """Call every sink; those that fail are taken out, and told of when all have been called."""
        failures = []
        for entry in list(self._sinks):
            name, sink = entry
            try:
                call(sink)
            except (Exception, SystemExit) as cause:
                stream = state.stream.name
                where = f"stream '{stream}'" if result is None else f"frame {result.frame.index} of '{stream}'"
                failures.append(_failure(name, f"{doing} {where}", cause))
                self._sinks = [other for other in self._sinks if other is not entry]  # two sinks may be equal
                self._amending = [other for other in self._amending if other is not sink]
                self._lost += (name,)
                close_quietly(sink)
        if failures and self._on_error == "raise":
            for failure in failures[1:]:
                log.error("%s", failure)
            raise failures[0]
        for failure in failures:
            log.error("%s; the run goes on without it", failure)
            state.counters.warnings.append(f"{failure}; the run went on without it")


def _failure(name: str, doing: str, cause: BaseException) -> FramehookError:
    if isinstance(cause, FramehookError):
        return cause
    error = StageError(f"sink '{name}' failed {doing}: {type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error
