"""Live sources that are opened again when they are lost: their numbers and their time go on."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from framehook import returned
from framehook.contracts import DamageReporter, Source, keeps
from framehook.errors import SourceError
from framehook.frame import Frame, Image, Picture
from framehook.leaving import close_quietly
from framehook.results import Event

log = logging.getLogger("framehook")


class StoppedError(SourceError):
    """The run ended while a source was waited for: nothing is wrong with it."""


@dataclass(slots=True, kw_only=True)
class _Outage:
    """A time without a connection, until a frame of the next one comes."""

    since: float
    """When the last frame came, by the clock that never goes back; or when the first attempt failed."""
    reason: str
    """Why the connection was lost."""


class ReconnectingSource:
    """One stream, over as many connections as it takes. The constructor blocks until there is one, as the loop does later.

    Between the last frame of a connection and the first one of the next as much time passes as on the wall. Pictures of another
    size than the first connection's are scaled to that.

    Args:
        open_source: makes a connection. An `OSError`, such as every `SourceError`, means that there is none at the moment.
        wait_seconds: from a failure to the next attempt.
        patient: wait also for the first connection. Else it fails as `open_source` does, since a wrong address is no lost camera.
        end_seconds: how long after its first frame the stream ends, also where it is away by then; None: never.
        stopping: set when the run ends; then there are no more attempts.
        tell: takes the event `camera-lost`, before the first frame that comes after it.

    Raises:
        SourceError: it cannot be opened.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        *,
        wait_seconds: float,
        patient: bool,
        end_seconds: float | None = None,
        stopping: threading.Event,
        tell: Callable[[Event], None],
    ) -> None:
        self._open = open_source
        self._wait_seconds = wait_seconds
        self._stopping = stopping
        self._tell = tell
        self._until: float | None = None
        self._end_seconds = end_seconds
        self._damaged_before = 0
        self._outage: _Outage | None = None
        self._lost = 0
        self._lost_seconds = 0.0  # of the outages that are over
        self._first_loss = ""
        self._told: set[str] = set()  # what was said of this outage: a night has thousands of attempts
        source = self._connect(patient=patient)
        assert source is not None  # which has no end before its first frame
        self._source = source
        self.info = source.info

    @property
    def damaged(self) -> int:
        """Packets and frames left out so far, over all connections."""
        return self._damaged_before + (self._source.damaged if keeps(self._source, DamageReporter) else 0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """How often it was lost, and what is to be said of the last connection."""
        of_last = self._source.warnings if keeps(self._source, DamageReporter) else ()
        if not self._lost:
            return of_last
        times = "once" if self._lost == 1 else f"{self._lost} times"
        outage = self._outage
        away = self._lost_seconds + (time.monotonic() - outage.since if outage else 0.0)
        return (f"lost {times}, for {away:.1f} s altogether, first {self._first_loss}", *of_last)

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames of one connection after another."""
        last: Frame | None = None
        came = time.monotonic()
        while True:
            try:
                for frame in returned.frames(self._source) if last is None else self._continued(last, came):
                    came = time.monotonic()
                    if last is None and self._end_seconds is not None:
                        self._until = came + self._end_seconds
                    self._note_back(came, last)
                    last = frame
                    yield frame
                return
            except Exception as error:
                if not (_is_loss(error) and self.info.live) or self._stopping.is_set():
                    raise
                self._note_loss(error, came, last)
            if not self._reconnect():
                return

    def close(self) -> None:
        """Let go of the connection; a second call is harmless."""
        self._source.close()

    def _continued(self, last: Frame, came: float) -> Iterator[Frame]:
        """Go through the frames of a new connection, numbered and timed as those of one stream."""
        first: Frame | None = None
        unit = last.time_base
        begins, before = 0, last.pts
        for frame in returned.frames(self._source):
            if first is None:
                first = frame
                begins = last.pts + max(round(Fraction(time.monotonic() - came) / unit), 1)
            pts = begins + round((frame.pts * frame.time_base - first.pts * first.time_base) / unit)
            if 0 <= (before - pts) * unit < 1:  # the first connection's clock may be coarser than the frames of this one
                pts = before + 1
            before = pts
            yield replace(
                frame,
                stream=self.info,
                index=last.index + 1 + frame.index - first.index,
                pts=pts,
                time_base=unit,
                picture=frame.picture if self._has_its_size(frame) else _Scaled(frame.picture, self.info.width, self.info.height),
            )

    def _has_its_size(self, frame: Frame) -> bool:
        return (frame.width, frame.height) == (self.info.width, self.info.height)

    def _note_loss(self, error: Exception, came: float, last: Frame | None) -> None:
        reason = str(error)
        if self._outage is None:
            self._outage = _Outage(since=came, reason=reason)
            self._lost += 1
            self._first_loss = self._first_loss or f"at {last.seconds if last else 0.0:.2f} s: {reason}"
        self._say(reason)

    def _note_back(self, came: float, last: Frame | None) -> None:
        """Tell of the outage that the frame which has just come ends."""
        if self._outage is None:
            return
        outage, self._outage = self._outage, None
        seconds = came - outage.since
        self._lost_seconds += seconds
        self._told.clear()
        log.warning("'%s' is back after %.1f s", self.info.name, seconds)
        if last is not None:
            details = {"reason": outage.reason, "seconds_lost": round(seconds, 3)}
            self._tell(Event(kind="camera-lost", seconds=last.seconds, details=details))

    def _say(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            log.warning("%s; it is tried again every %g s", reason, self._wait_seconds)

    def _reconnect(self) -> bool:
        """Open it again, and say whether there is more of it to come."""
        close_quietly(self._source)
        if not self._wait():
            return False
        before = self.damaged
        source = self._connect(patient=True)
        if source is None:
            return False
        self._source, self._damaged_before = source, before
        return source.info.live  # else a playlist that has got its end meanwhile

    def _connect(self, *, patient: bool) -> Source | None:
        """Return a connection; None where the stream's end has come before there was one."""
        while True:
            try:
                source = self._open()
            except Exception as error:
                if not (patient and _is_loss(error)):
                    raise
                self._say(str(error))
                if not self._wait():
                    return None
                continue
            try:
                name = returned.info(source).name
            except ValueError:
                close_quietly(source)
                raise
            if self._stopping.is_set():  # who stopped could not close what was not there yet
                close_quietly(source)
                raise StoppedError(f"'{name}' was opened when the run had ended")
            return source

    def _wait(self) -> bool:
        """Wait for the next attempt, and say whether there is to be one.

        Raises:
            StoppedError: the run has ended.
        """
        left = self._wait_seconds if self._until is None else min(self._wait_seconds, self._until - time.monotonic())
        if self._stopping.wait(max(left, 0.0)):
            raise StoppedError("the run ended while a source was waited for")
        return self._until is None or time.monotonic() < self._until


def _is_loss(error: Exception) -> bool:
    """Say whether an error is about a connection, also where a plugin's constructor raised it."""
    return isinstance(error, OSError) or isinstance(error.__cause__, OSError)


class _Scaled:
    """A picture of another size than its stream's."""

    def __init__(self, picture: Picture, width: int, height: int) -> None:
        self._picture = picture
        self._size = (width, height)

    def rgb(self) -> Image:
        return self._picture.scaled(*self._size)

    def scaled(self, width: int, height: int) -> Image:
        return self._picture.scaled(width, height)
