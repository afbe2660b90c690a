"""Which of a stream's frames are analysed."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from framehook.frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A span of time, and how many frames of it."""

    start_seconds: float = 0.0
    """Earlier frames are passed over; 0 passes over none, also where times begin below it; a live stream's counts from its first.

    A picture that is alone in its stream has no time, and is not passed over.
    """
    end_seconds: float | None = None
    """The stream ends before the first frame at or after this time; a live one's counts from its first frame."""
    every: int = 1
    """Of the frames in question, every n-th."""
    fps: float | None = None
    """At most so many frames a second of the stream's own time."""

    def of(self, frames: Iterator[Frame], *, live: bool = False, alone: bool = False) -> Generator[Frame | None]:
        """Yield each frame that is wanted, and None for each that is not, until the end."""
        number = 0
        due: float | None = None
        origin: float | None = None if live else 0.0
        for frame in frames:
            seconds = frame.seconds
            origin = seconds if origin is None else origin
            if self.end_seconds is not None and seconds >= origin + self.end_seconds:
                return
            if self.start_seconds and seconds < origin + self.start_seconds and not alone:
                yield None
                continue
            wanted = number % self.every == 0
            number += 1
            if wanted and self.fps is not None:
                period = 1 / self.fps
                rounding = period / 1000
                # Less than a period before it is due; a time further back means that the clock began anew.
                wanted = due is None or not due - period - rounding <= seconds < due - rounding
                if wanted:
                    # After a gap the beat starts anew: frames that were not there are not made up for.
                    due = seconds + period if due is None or abs(seconds - due) > period else due + period
            yield frame if wanted else None
