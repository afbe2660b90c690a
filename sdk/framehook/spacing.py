"""How far apart the frames of a stream lie that its tracker is given: so far that it may follow nothing."""

import math
from dataclasses import dataclass

from framehook.detections import NO_TRACK, Detections

_FAR_APART_SECONDS = 0.5  # between two frames: nearer ones any tracker is made for
_SEEN_IN_A_ROW = 3  # frames in which something was found: false alarms come alone, and `iou` gives an id after three
_ROOM = 2.5  # times the distance between two frames: a tracker that waits so long bears one miss


@dataclass(slots=True)
class Spacing:
    """What a stream's tracker was given and gave, whichever tracker it is."""

    nearest_seconds: float = math.inf
    """Between the two frames that are nearest to each other."""
    last_seconds: float | None = None
    """The time of the last one."""
    in_a_row: int = 0
    """How many of the last ones, without one between, had something in them."""
    longest_row: int = 0
    """How many the longest such row had."""
    followed: bool = False
    """Whether anything has got an id."""

    def take(self, seconds: float, tracked: Detections) -> None:
        """Take in what the tracker made of a frame."""
        if self.last_seconds is not None and seconds > self.last_seconds:
            self.nearest_seconds = min(self.nearest_seconds, seconds - self.last_seconds)
        self.last_seconds = seconds
        self.in_a_row = self.in_a_row + 1 if len(tracked) else 0
        self.longest_row = max(self.longest_row, self.in_a_row)
        self.followed |= bool((tracked.tracks != NO_TRACK).any())

    def warnings(self) -> tuple[str, ...]:
        """Tell that nothing was followed, where frames that are so far apart are a likely reason."""
        far_apart = _FAR_APART_SECONDS <= self.nearest_seconds < math.inf
        if self.followed or not far_apart or self.longest_row < _SEEN_IN_A_ROW:
            return ()
        longer = f"iou:gap_seconds={math.ceil(_ROOM * self.nearest_seconds)}"
        return (
            f"nothing was followed, though something was found in {self.longest_row} frames in a row: they lie "
            f"{self.nearest_seconds:.1f} s apart, perhaps too far for the tracker; analyse more frames a second, or have it wait "
            f"longer (tracker {longer})",
        )
