"""When the frames of a stream start, by its container's clock, and what is missing between them."""

from fractions import Fraction
from heapq import heapify, heappop, heappush

from framehook.damage import Damage

_EARLY_SECONDS = 0.1  # a stream that ends so much before the length that it states lacks something ...
_EARLY_SECONDS_OF_CONTAINER = 0.5  # ... and where only the container's length is known, which may be that of its sound


class Timeline:
    """The times of one stream's frames, in the container's ticks, and a record of what is damaged.

    Args:
        time_base: seconds per tick.
        begins: when the first frame starts, in ticks.
        span: the first tick that is wanted, and the first after it that is not; None: there is no such limit.
        stated_seconds: length as the container states it; None where it does not.
        exact: whether that length is the stream's own.
        listed: whether the container states the number of its frames: then it lists them, and none is lost unnoticed.
        wraps_at: ticks after which the clock begins anew; None: it does not.
        in_coded_order: whether its times are those at which frames are decoded, in another order than they are shown, as in AVI:
            then the frame shown first has the least of them, and so on.
    """

    def __init__(
        self,
        time_base: Fraction,
        *,
        begins: int,
        span: tuple[int | None, int | None],
        stated_seconds: float | None,
        exact: bool,
        listed: bool,
        wraps_at: int | None = None,
        in_coded_order: bool = False,
    ) -> None:
        self.time_base = time_base
        self.start, self.end = span
        self.in_coded_order = in_coded_order
        self.damage = Damage()
        self.went_back = False
        """Whether the last frame starts before the one before it."""
        self._begins = begins
        self._stated_seconds = stated_seconds
        self._exact = exact
        self._listed = listed
        self._wraps_at = wraps_at
        self._coded: list[int] = []  # a heap: times of packets whose frames have not come yet
        self._last: int | None = None
        self._following = begins  # when the frame after the last one starts
        self._paced = False  # whether the last frame said how long it lasts

    def stated_by_packet(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of a packet, which is to be decoded now; the time of decoding is None for a packet without a frame."""
        if not self.in_coded_order:
            return self._unwrapped(pts)
        if dts is not None:
            heappush(self._coded, dts)
        return dts

    def forget(self, stated: int | None) -> None:
        """Take note that the packet of this time had no frame in it."""
        if stated in self._coded:
            self._coded.remove(stated)
            heapify(self._coded)

    def time_of(self, pts: int | None, duration: int) -> int:
        """Return when the next frame starts; one without a time starts where the one before ends.

        Args:
            pts: what the frame itself says.
            duration: of the frame; 0 where it is not known.
        """
        if self._coded:
            pts = heappop(self._coded)
        pts = self._unwrapped(pts)
        if pts is None:
            self.damage.untimed += 1
            pts = self._following
        if self._paced and not self._listed and self.is_wanted(self._following):
            self.damage.note_gap(self._seconds(self._following), self._seconds(pts))
        self._paced = bool(duration)
        self._following = pts + duration
        self.went_back = self._last is not None and pts < self._last
        if self.went_back and self.is_wanted(pts):
            self.damage.note_back(self._seconds(pts))
        self._last = pts
        return pts

    def _unwrapped(self, pts: int | None) -> int | None:
        """Return a time of a clock that may have begun anew since the last frame."""
        if pts is None or self._last is None or self._wraps_at is None:
            return pts
        return pts + max(round((self._last - pts) / self._wraps_at), 0) * self._wraps_at

    def is_wanted(self, pts: int) -> bool:
        """Say whether a time is not before the start."""
        return self.start is None or pts >= self.start

    def note_damage(self, pts: int | None, duration: int | None = None) -> int:
        """Count a packet or frame as left out, and return its time: where it has none, that of what comes next."""
        pts = self._following if pts is None else pts
        if self.is_wanted(pts):
            self.damage.note(self._seconds(pts), self._seconds(duration or 0))
        return pts

    def note_end(self) -> None:
        """Compare where the stream ended with what the container states."""
        if self._stated_seconds is None:
            return
        stated, ended = self._seconds(self._begins) + self._stated_seconds, self._seconds(self._following)
        if stated - ended > (_EARLY_SECONDS if self._exact else _EARLY_SECONDS_OF_CONTAINER):
            self.damage.end = (ended, stated)

    def _seconds(self, ticks: int) -> float:
        return float(ticks * self.time_base)
