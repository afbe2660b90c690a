"""How a run works: a decode thread for each stream, one for inference, one for the sinks, and bounded queues between them.

    decode (a thread for each stream) -> Inbox -> inference (one, batches) -> Outbox -> sinks (one thread) -> Outbox -> the caller

A stop, whether by an error, by Ctrl-C or by the caller's leaving, always takes the same way: no new frame is accepted, the
decoders end, what is in the queues flows on or is thrown away, and the sinks are closed whole. All of this the threads do alone,
for the caller may never come back; who closes the run waits for them.
"""

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from framehook import returned
from framehook.addresses import is_address
from framehook.analysis import Analysis, Done
from framehook.contracts import DamageReporter, Source, keeps
from framehook.delivery import Delivery
from framehook.errors import FramehookError, RunError, SourceError
from framehook.frame import Frame, StreamInfo
from framehook.inbox import Inbox
from framehook.outbox import Outbox
from framehook.reconnecting import ReconnectingSource, StoppedError
from framehook.results import Event, FrameResult, StreamStatistics
from framehook.selection import Selection
from framehook.sources import SourceSpec
from framehook.stages import Stages
from framehook.stream_state import Counters, StreamState

log = logging.getLogger("framehook")

_LATE_SECONDS = 0.5
_WAIT_FOR_A_SOURCE_SECONDS = 5.0
_GRACE_SECONDS = 0.2  # for sources to end by themselves before they are closed from here
_PATIENCE_SECONDS = 20.0  # without a result, after which a run that was forgotten is left to end alone
# Of a recorded stream that may wait for the next frame that is detected on: 0.8 s at 30 frames/s, if pictures are no larger than
# those of 1080p by much.
_AHEAD_FRAMES, _AHEAD_BYTES = 24, 1 << 27
_RECORDED_AT_ONCE = 2  # one decodes ahead while the other is analysed: more would only hold memory


class _Stream:
    """One stream of a run, from its source to its statistics."""

    def __init__(self, spec: SourceSpec) -> None:
        self.spec = spec
        self.source: Source | None = None
        self.told = False  # whether the counters know of its damage
        self.woken = False  # closed while it was being read, of which it may complain
        self.counters = Counters()
        self.happened: deque[Event] = deque()  # to its source, of which no result has told yet
        self.state: StreamState | None = None
        self.error: FramehookError | None = None
        self.decoded = threading.Event()

    @property
    def may_be_live(self) -> bool:
        """Whether it is live, or may turn out to be: an address of a network, or a plugin's."""
        return self.spec.live or self.spec.location is None or is_address(self.spec.location)

    def statistics(self) -> StreamStatistics:
        """Return how it went so far."""
        statistics = self.counters.statistics(self.spec.name)
        source: object = self.source
        if keeps(source, DamageReporter) and not self.told:  # once it has ended, the counters know
            return replace(statistics, damaged=source.damaged, warnings=(*statistics.warnings, *source.warnings))
        return statistics


@dataclass(frozen=True, slots=True)
class _Ended:
    stream: _Stream


_Waiting: TypeAlias = tuple[Frame, float]  # with the moment it came
_Result: TypeAlias = tuple[StreamState, FrameResult, float]  # with the moment its frame came
_ToSinks: TypeAlias = _Result | _Ended | FramehookError | None


class Engine:
    """One run over some sources.

    Args:
        specs: the sources, opened when their turn comes.
        stages: what is done to frames.
        delivery: the sinks.
        selection: which frames are analysed.
        batch: frames that are analysed at once, at most.
        reconnect_seconds: how long to wait before a live source that was lost is opened again; None ends it with an error.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        *,
        stages: Stages,
        delivery: Delivery,
        selection: Selection,
        batch: int,
        reconnect_seconds: float | None = None,
    ) -> None:
        self._streams = [_Stream(spec) for spec in specs]
        self._stages = stages
        self._delivery = delivery
        self._selection = selection
        self._batch = batch
        self._reconnect_seconds = reconnect_seconds
        self._recorded = deque(stream for stream in self._streams if not stream.spec.live)
        self._may_be_live = any(stream.may_be_live for stream in self._streams)
        self._inbox: Inbox[_Stream, _Waiting] = Inbox(streams=len(self._streams), together=self._together)
        waiting = 1 if self._may_be_live else 2 * batch  # results of a live stream that wait grow old
        self._to_sinks: Outbox[_ToSinks] = Outbox(waiting)
        self._ready: Outbox[FrameResult | FramehookError | None] = Outbox(waiting)
        self._process = os.getpid()
        self._decoders: list[threading.Thread] = []
        self._closers: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._others: list[threading.Thread] = []
        self._starting = threading.RLock()  # held while threads are; reentrant: a signal's handler may ask for one meanwhile
        self._began = False
        self._told_to_stop = False
        self._ending = False  # whether a thread of its own, or `stop`, has seen to the sources
        self._finished = False
        self.failure: FramehookError | None = None
        """What has ended the run or failed at its end, until `results` raises it."""

    def results(self) -> Generator[FrameResult]:
        """Run, and yield every result in the order of its stream.

        Raises:
            StageError: a plugin raised.
            SourceError: a source could not be opened or decoded; the other sources were finished first.
        """
        discard = False
        try:
            with self._starting:
                self._began = True
                self._start(self._decoders, self._decoding())
                self._start(self._others, [("inference", self._infer), ("sinks", self._deliver)])
            while (message := self._next()) is not None:
                if isinstance(message, FramehookError):
                    discard, self.failure = True, None
                    raise message
                yield message
            self._raise_source_errors()
        finally:
            self._shut_down(discard=discard)

    def stop(self) -> None:
        """End every stream here, from any thread: what was decoded flows on, and then `results` ends."""
        self._told_to_stop = True
        self._stop(discard=False)
        with self._starting:
            if self._began and not (self._ending or self._all_decoded()):
                try:
                    self._start(self._others, [("end", self._end_sources)])
                except RunError:  # Python 3.12 starts no thread while the program ends
                    self._end_sources()
                self._ending = True

    def ends_within(self, seconds: float) -> bool:
        """Wait for the threads of a run that was stopped, and say whether they have ended."""
        _join(self._others, seconds)
        return not any(thread.is_alive() for thread in self._others)

    def leave_unrun(self) -> None:
        """Close the sinks of a run that was never begun; one that was has closed them itself."""
        if not self._began:
            self._began = True
            self._delivery.close()

    def is_ours(self) -> bool:
        """Say whether this is the process that made the run: one that was forked off has none of its threads."""
        return os.getpid() == self._process

    def runs_here(self) -> bool:
        """Say whether the calling thread is one of the run's own, which cannot wait for itself to end."""
        return threading.current_thread() in (*self._decoders, *self._others)

    def statistics(self) -> Mapping[str, StreamStatistics]:
        """Return how each stream went so far, by name."""
        return {stream.spec.name: stream.statistics() for stream in self._streams}

    def _all_decoded(self) -> bool:
        return all(stream.decoded.is_set() for stream in self._streams)

    def _decoding(self) -> list[tuple[str, Callable[[], None]]]:
        workers = [("decode", self._decode_recorded)] * min(len(self._recorded), _RECORDED_AT_ONCE)
        live = [("decode", partial(self._decode, stream)) for stream in self._streams if stream.spec.live]
        return [*workers, *live]

    def _start(self, threads: list[threading.Thread], targets: Sequence[tuple[str, Callable[[], None]]]) -> None:
        """Start a thread for each, which stands in the list before it runs: an exception may come at any moment."""
        for i, (name, run) in enumerate(targets):
            # Daemons: a second Ctrl-C must be able to end the process while a camera's driver hangs.
            threads.append(threading.Thread(target=run, name=f"framehook-{name}-{i}", daemon=True))
            try:
                threads[-1].start()
            except RuntimeError as error:
                raise RunError(f"a run needs threads, of which no more can be started: {error}; end others first") from error

    def _next(self, *, patience_seconds: float = math.inf) -> FrameResult | FramehookError | None:
        """Wait for what comes next; None: nothing does any more.

        Raises:
            TimeoutError: it has not come by then.
        """
        until = time.monotonic() + patience_seconds
        while True:
            try:
                message = self._ready.take(wait_seconds=1.0)  # without a limit, Ctrl-C would not come through on Windows
            except TimeoutError:
                if self._ready or any(thread.is_alive() for thread in self._others):
                    if time.monotonic() > until:
                        raise
                    continue
                message = None  # the threads could not be started
            self._finished = message is None
            return message

    def _shut_down(self, *, discard: bool) -> None:
        if not self.is_ours():
            return
        patience_seconds = math.inf if self._told_to_stop else _PATIENCE_SECONDS
        self._stop(discard=discard)
        self.stop()
        if self.runs_here():  # the garbage collector may come by on any thread
            return
        try:
            while not self._finished:
                self._next(patience_seconds=patience_seconds)
        except TimeoutError:  # and on one that holds what the run's threads wait for
            log.warning("a run that was left does not end: its threads go on alone, and what they write may not be whole")
            return
        _join(self._others, _PATIENCE_SECONDS)
        if self._all_decoded():  # else some were waited for
            _join(self._decoders, _PATIENCE_SECONDS)
        self._delivery.close()  # where no thread could be started for it

    def _end_sources(self) -> None:
        """Close the sources that wait for something, for their decode threads cannot; and end the streams of those that go on."""
        until = time.monotonic() + _WAIT_FOR_A_SOURCE_SECONDS
        _join(self._decoders, _GRACE_SECONDS)
        for stream in self._streams:
            if not stream.decoded.is_set():
                try:
                    self._start(self._closers, [("close", partial(_close, stream))])
                except RunError:  # as in `stop`
                    _close(stream)
        _join(self._decoders, until - time.monotonic())
        _join(self._closers, until - time.monotonic())
        for stream in self._streams:
            if not stream.decoded.is_set():
                if any(thread.is_alive() for thread in self._decoders):
                    log.warning("source '%s' does not stop: it is left behind", stream.spec.name)
                stream.counters.interrupted = True
                self._inbox.end(stream)

    def _stop(self, *, discard: bool) -> None:
        self._stopping.set()
        self._to_sinks.widen()
        self._ready.widen()
        for stream in self._inbox.stop(discard=discard):
            stream.counters.interrupted = True

    def _raise_source_errors(self) -> None:
        errors = [stream.error for stream in self._streams if stream.error is not None]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise SourceError(f"{len(errors)} of {len(self._streams)} sources failed: {'; '.join(map(str, errors))}")

    def _decode_recorded(self) -> None:
        while True:
            try:
                stream = self._recorded.popleft()
            except IndexError:
                return
            self._decode(stream)

    def _decode(self, stream: _Stream) -> None:
        try:
            if self._stopping.is_set():
                stream.counters.interrupted = True
                return
            stream.counters.started = time.perf_counter()
            with closing(self._open(stream)) as source:
                stream.source = source
                if self._stopping.is_set():  # it took its time, and nobody could wake it
                    stream.counters.interrupted = True
                    return
                if source.info.live and not stream.spec.live:  # it may never end, and others wait for this thread
                    self._start(self._decoders, [("decode-next", self._decode_recorded)])
                try:
                    self._decode_frames(stream, source)
                finally:
                    if keeps(source, DamageReporter):
                        stream.counters.damaged = source.damaged
                        stream.counters.warnings.extend(source.warnings)
                        stream.told = True
        except BaseException as error:  # also SystemExit: this thread is ours, and its end must be told
            if stream.woken or isinstance(error, StoppedError):
                stream.counters.interrupted = True
                log.debug("source '%s' was closed while it was read: %s", stream.spec.name, error)
            elif isinstance(error, FramehookError):
                stream.error = error
            else:
                stream.error = SourceError(f"source '{stream.spec.name}' failed: {type(error).__name__}: {error}")
                stream.error.__cause__ = error
        finally:
            if stream.error is not None:
                stream.counters.error = str(stream.error)
                if stream.may_be_live and len(self._streams) > 1:  # it is raised when the others are done, which may be never
                    log.error("%s; the other streams go on", stream.error)
            stream.decoded.set()
            self._inbox.end(stream)

    def _open(self, stream: _Stream) -> Source:
        spec = stream.spec
        if self._reconnect_seconds is None or not (stream.may_be_live and spec.reopens):
            return spec.open()
        return ReconnectingSource(
            spec.open,
            wait_seconds=self._reconnect_seconds,
            patient=spec.live,
            end_seconds=self._selection.end_seconds,
            stopping=self._stopping,
            tell=stream.happened.append,
        )

    def _decode_frames(self, stream: _Stream, source: Source) -> None:
        counters = stream.counters
        info, room, any_wanted = source.info, self._room(source.info), False
        with closing(self._selection.of(returned.frames(source), live=info.live, alone=info.frames == 1)) as frames:
            while True:
                start = time.perf_counter()
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                finally:
                    counters.spend("decode", time.perf_counter() - start)
                counters.decoded += 1
                if frame is not None:
                    any_wanted = True
                    taken, dropped = self._inbox.put(stream, (frame, time.perf_counter()), live=info.live, room=room)
                    counters.dropped += dropped
                    if not taken:
                        counters.interrupted = True
                        return
                elif self._stopping.is_set():
                    counters.interrupted = True
                    return
        if not (any_wanted or info.live or self._stopping.is_set()):
            raise SourceError(
                f"source '{stream.spec.name}' gave no frame: if it was read or closed before, make it anew; "
                "if a start or an end was asked for, choose others"
            )

    def _infer(self) -> None:
        analysis = Analysis(self._stages)
        try:
            while (taken := self._inbox.take(self._batch)) is not None:
                waiting, ended = taken
                came = {id(frame): moment for _, (frame, moment) in waiting}
                batch = [(self._state(stream, frame), frame) for stream, (frame, _) in waiting]
                self._hand_on(partial(analysis.process, batch), [state for state, _ in batch], came)
                for stream in ended:
                    if stream.state is not None:
                        self._hand_on(partial(analysis.finish, stream.state), [stream.state], {})
                    self._to_sinks.put(_Ended(stream))
        except BaseException as error:
            self._stop(discard=True)
            self._to_sinks.put(_as_framehook_error(error))
        finally:
            self._to_sinks.put(None)

    def _hand_on(self, analyse: Callable[[], Done], states: Sequence[StreamState], came: Mapping[int, float]) -> None:
        """Analyse, on the clock of these streams, and send to the sinks what is done.

        Args:
            analyse: what to do.
            states: of the streams; one that has several frames in it is named several times.
            came: the moments at which frames came, by their `id`; a recording's, which may have come earlier, is never late.

        Raises:
            StageError: a plugin raised.
        """
        start = time.perf_counter()
        results, error = analyse()
        for state in states:
            state.counters.inference_seconds += (time.perf_counter() - start) / len(states)
        for state, result in results:
            self._to_sinks.put((state, result, came.get(id(result.frame), math.inf)))
        if error is not None:
            raise error

    def _state(self, stream: _Stream, frame: Frame) -> StreamState:
        if stream.state is None:
            recorded = not self._may_be_live  # a live stream would wait while much of a recorded one is analysed at once
            stream.state = StreamState(frame.stream, self._stages, stream.counters, stream.happened, recorded=recorded)
        return stream.state

    def _room(self, info: StreamInfo) -> int:
        """Return how many frames of a recorded stream may wait for inference."""
        usual = 2 * self._batch
        if self._may_be_live:
            return usual
        return max(usual, min(_AHEAD_FRAMES, _AHEAD_BYTES // max(info.width * info.height * 3 // 2, 1)))

    def _together(self, stream: _Stream, waiting: Sequence[_Waiting]) -> int | None:
        """Return how many frames there are up to the next one to detect on, where those before it wait for it."""
        state = self._state(stream, waiting[0][0])
        if not state.looks_ahead:
            return None
        due = (i for i, (frame, _) in enumerate(waiting) if state.is_due(frame.seconds, before=i))
        return next(due, -1) + 1

    def _deliver(self) -> None:
        failure: FramehookError | None = None
        while (message := self._to_sinks.take()) is not None:
            if failure is not None:
                continue  # what comes after a failure is not written
            if isinstance(message, FramehookError):
                failure = message
                continue
            try:
                self._take_delivery(message)
            except BaseException as error:
                failure = _as_framehook_error(error)
                self._stop(discard=True)
        for stream in self._streams:
            if failure is not None and not stream.counters.ended:
                stream.counters.interrupted = True
                stream.counters.error = stream.counters.error or str(failure)
        try:
            self._delivery.close()
        except BaseException as error:
            failure = failure or _as_framehook_error(error)
        if failure is not None:
            self.failure = failure
            self._ready.put(failure)
        self._ready.put(None)

    def _take_delivery(self, message: _Result | _Ended) -> None:
        if isinstance(message, _Ended):
            message.stream.counters.ended = time.perf_counter()
            if message.stream.state is not None:
                self._delivery.end(message.stream.state)
        else:
            state, result, came = message
            if result.frame.stream.live and time.perf_counter() - came > _LATE_SECONDS:
                state.counters.late += 1
            self._delivery.write(state, result)
            self._ready.put(result)


def _join(threads: list[threading.Thread], seconds: float) -> None:
    """Wait for all of these threads, and those that are added meanwhile, but no longer than that; some could not be started."""
    until = time.monotonic() + seconds
    for thread in threads:
        if thread.ident not in (None, threading.get_ident()):
            thread.join(max(until - time.monotonic(), 0.0))


def _close(stream: _Stream) -> None:
    """Close a source from another thread than the one that reads it."""
    stream.counters.interrupted = stream.woken = True
    try:
        if stream.source is not None:
            stream.source.close()
    except BaseException as error:  # such as a generator's, which is running
        log.debug("closing source '%s' failed: %s", stream.spec.name, error)


def _as_framehook_error(error: BaseException) -> FramehookError:
    if isinstance(error, FramehookError):
        return error
    wrapped = RunError(f"the run failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
