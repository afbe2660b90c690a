"""A stream that the caller pushes, frame by frame, on the caller's own thread."""

import os
import threading
import time
from fractions import Fraction
from types import TracebackType
from typing import NoReturn, Self

from framehook.analysis import Analysis
from framehook.delivery import Delivery
from framehook.errors import FramehookError, RunError, UsageError
from framehook.frame import Frame, Image, StreamInfo, checked_seconds
from framehook.leaving import close_at_exit, close_left
from framehook.results import FrameResult, StreamStatistics
from framehook.stages import Stages
from framehook.stream_state import Counters, StreamState
from framehook.video import ArrayPicture

_TIME_BASE = Fraction(1, 1_000_000)
_WAIT_AT_EXIT_SECONDS = 5.0  # for a push that does not end


class Session:
    """One pushed stream: no threads, no queues. Use it in a `with` block, or call `close()`.

    One thread at a time pushes into a session; different sessions may be on different threads.

    Args:
        name: the stream's name.
        stages: what is done to frames.
        delivery: the sinks.
    """

    def __init__(self, name: str, *, stages: Stages, delivery: Delivery) -> None:
        self._name = name
        self._stages = stages
        self._analysis = Analysis(stages)
        self._delivery = delivery
        self._counters = Counters()
        self._state: StreamState | None = None
        self._closed = False
        self._lock = threading.RLock()  # reentrant: a sink, a hook or a signal's handler may close the session
        self._pushing = False
        self._process = os.getpid()
        close_at_exit(self, Session._close_at_exit)

    def push(self, image: Image, *, seconds: float | None = None) -> FrameResult:
        """Analyse one picture and return what was found.

        Args:
            image: (height, width, 3) uint8 RGB, of the same size each time; do not change it while the result is in use.
            seconds: its time in the stream; None takes the time since the session began. It should not fall: a little, as a
                clock that is set may, is taken as it is, and where it falls far, all is new and gets new tracks.

        Raises:
            UsageError: the session is closed, another thread pushes into it, or the picture is of the wrong kind or size.
            StageError: a plugin raised; the session can go on with the next picture.
            StageError, OutputError: a sink failed, and takes no more; the session can go on with the others.
        """
        self._check_open()
        if self._pushing:
            raise UsageError(f"session '{self._name}' is being pushed into: one picture at a time, or a session for each thread")
        with self._lock:  # not acquired by hand: a signal's handler might raise before it could be released
            try:
                self._pushing = True
                return self._push(image, seconds)
            finally:
                self._pushing = False

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                f"session '{self._name}' belongs to the process that opened it, and this one was forked off: open another here"
            )
        if self._closed:
            raise UsageError(f"session '{self._name}' is closed: open another one with pipeline.session()")

    def _push(self, image: Image, seconds: float | None) -> FrameResult:
        self._check_open()  # again: it may have been closed just now
        if seconds is None:
            seconds = time.perf_counter() - self._counters.started
        seconds = checked_seconds(seconds, what=f"session '{self._name}': seconds")
        picture = ArrayPicture(image)
        height, width = image.shape[:2]
        if self._state is None:
            stream = StreamInfo(name=self._name, width=width, height=height, live=True)
            self._state = StreamState(stream, self._stages, self._counters)
        stream = self._state.stream
        if (width, height) != (stream.width, stream.height):
            raise UsageError(
                f"session '{self._name}' began with pictures of {stream.width} x {stream.height}, got {width} x {height}: "
                "open another session, of another name, for another size"
            )
        frame = Frame(
            stream=stream,
            index=self._counters.decoded,
            pts=round(seconds / _TIME_BASE),
            time_base=_TIME_BASE,
            picture=picture,
        )
        self._counters.decoded += 1
        done, error = self._analysis.process([(self._state, frame)])
        if error is not None:
            raise error
        [(_, result)] = done
        try:
            self._delivery.write(self._state, result)
        except FramehookError as failure:
            self._counters.error = str(failure)  # what the other sinks say at the end must not vouch for this one's file
            raise
        return result

    @property
    def statistics(self) -> StreamStatistics:
        """How the stream went so far."""
        return self._counters.statistics(self._name)

    def close(self) -> None:
        """End the stream and close the sinks, once a push of another thread is done; a second call is harmless."""
        if os.getpid() != self._process:  # a process that was forked off leaves the files to the first one
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._counters.ended = time.perf_counter()
                self._delivery.close()

    def _close_at_exit(self) -> None:
        if not self._lock.acquire(timeout=_WAIT_AT_EXIT_SECONDS):
            raise RunError(f"session '{self._name}' is left open: a push into it does not end; its files are not whole")
        try:
            self.close()
        finally:
            self._lock.release()

    def __del__(self) -> None:
        close_left(self, Session.close)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Session can be neither copied nor pickled: send its results, or make it in the process that uses it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
