"""Live sources that are opened again when they are lost: their numbers and their time go on."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from framehook.contracts import DamageReporter, Source, keeps
from framehook.errors import SourceError
from framehook.frame import Frame, Image, Picture
from framehook.results import Event

log = logging.getLogger("framehook")


class ReconnectingSource:
    """One stream, over as many connections as it takes. It waits where it is opened, and where it is read.

    Its time goes on as the clock on the wall does: the first frame of a new connection comes as long after the last one of the
    connection before as it came late. Pictures of another size than the first connection's are scaled to that.

    Args:
        open_source: makes a connection.
        wait_seconds: from a failure to the next attempt.
        patient: wait also for the first connection. Else it fails as `open_source` does, since a wrong address is no lost camera.
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
        stopping: threading.Event,
        tell: Callable[[Event], None],
    ) -> None:
        self._open = open_source
        self._wait_seconds = wait_seconds
        self._stopping = stopping
        self._tell = tell
        self._damaged_before = 0
        self._lost = 0
        self._lost_seconds = 0.0
        self._first_loss = ""
        self._source = self._connect(patient=patient)
        self.info = self._source.info

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
        return (f"lost {times}, for {self._lost_seconds:.1f} s altogether, first {self._first_loss}", *of_last)

    def __iter__(self) -> Iterator[Frame]:
        """Go through the frames of one connection after another."""
        last: Frame | None = None
        came = time.monotonic()
        while True:
            try:
                for frame in self._source if last is None else self._continued(last, came):
                    last, came = frame, time.monotonic()
                    yield frame
                return
            except OSError as error:  # as every SourceError is
                if not self.info.live or self._stopping.is_set():
                    raise
                failure = error
            self._note_loss(failure, last)
            self._reconnect(failure)
            if not self._source.info.live:  # a playlist that has got its end meanwhile
                return
            self._lost_seconds += time.monotonic() - came
            log.warning("'%s' is back after %.1f s", self.info.name, time.monotonic() - came)
            if last is not None:
                details = {"reason": str(failure), "seconds_lost": round(time.monotonic() - came, 3)}
                self._tell(Event(kind="camera-lost", seconds=last.seconds, details=details))

    def close(self) -> None:
        """Let go of the connection; a second call is harmless."""
        self._source.close()

    def _continued(self, last: Frame, came: float) -> Iterator[Frame]:
        """Go through the frames of a new connection, numbered and timed as those of one stream."""
        first: Frame | None = None
        unit = last.time_base
        begins = 0
        for frame in self._source:
            if first is None:
                first = frame
                begins = last.pts + max(round(Fraction(time.monotonic() - came) / unit), 1)
            yield replace(
                frame,
                stream=self.info,
                index=last.index + 1 + frame.index - first.index,
                pts=begins + round((frame.pts * frame.time_base - first.pts * first.time_base) / unit),
                time_base=unit,
                picture=frame.picture if self._has_its_size(frame) else _Scaled(frame.picture, self.info.width, self.info.height),
            )

    def _has_its_size(self, frame: Frame) -> bool:
        return (frame.width, frame.height) == (self.info.width, self.info.height)

    def _note_loss(self, failure: OSError, last: Frame | None) -> None:
        self._lost += 1
        if not self._first_loss:
            self._first_loss = f"at {last.seconds if last else 0.0:.2f} s: {failure}"
        log.warning("%s; it is opened again every %g s", failure, self._wait_seconds)

    def _reconnect(self, failure: OSError) -> None:
        self._source.close()
        if self._stopping.wait(self._wait_seconds):
            raise failure
        before = self.damaged
        self._source = self._connect(patient=True)
        self._damaged_before = before

    def _connect(self, *, patient: bool) -> Source:
        told = ""
        while True:
            try:
                source = self._open()
            except OSError as error:
                if not patient:
                    raise
                if str(error) != told:
                    told = str(error)
                    log.warning("%s; it is tried again every %g s", told, self._wait_seconds)
                if self._stopping.wait(self._wait_seconds):
                    raise
                continue
            if self._stopping.is_set():  # who stopped could not close what was not there yet
                source.close()
                raise SourceError(f"'{source.info.name}' was opened when the run had ended")
            return source


class _Scaled:
    """A picture of another size than its stream's."""

    def __init__(self, picture: Picture, width: int, height: int) -> None:
        self._picture = picture
        self._size = (width, height)

    def rgb(self) -> Image:
        return self._picture.scaled(*self._size)

    def scaled(self, width: int, height: int) -> Image:
        return self._picture.scaled(width, height)
