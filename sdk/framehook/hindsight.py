"""What a frame of a recording says of its tracks, once what they show soon after is known too."""

from collections import deque
from collections.abc import Sequence

from framehook.contracts import Column
from framehook.detections import NO_TRACK
from framehook.frame import StreamInfo
from framehook.steps import Item

_SECONDS = 0.6  # of a track's first 0.8 the most; docs/models.md says how much steadier its reports are
_FRAMES, _BYTES = 24, 1 << 27  # that wait, at most
_BYTES_A_PIXEL = 4.5  # of a frame that was looked at: the decoder's planes, and RGB


class Hindsight:
    """The frames of one stream that wait until later views of their tracks are in.

    The aggregate of a track's first views swings from one view to the next. A recording has no hurry: each of its frames reports
    what is known of its tracks a moment later. What a column of aggregate `last` says is of its own moment, and stays.

    Args:
        stream: whose frames.
        columns: of all classifiers.
    """

    def __init__(self, stream: StreamInfo, columns: Sequence[Column]) -> None:
        self._columns = [column.name for column in columns if column.aggregate != "last"]
        self._room = min(_FRAMES, int(_BYTES / _BYTES_A_PIXEL / (stream.width * stream.height))) if self._columns else 0
        self._waiting: deque[Item] = deque()
        self._latest: dict[int, tuple[Item, int]] = {}  # by track: of the frames that wait the last one with it, and its row

    def take(self, item: Item) -> list[Item]:
        """Take in the next frame, with what is known at its own time, and return those before it, or itself, that are done."""
        done = []
        while self._waiting and not 0 <= item.frame.seconds - self._waiting[0].frame.seconds < _SECONDS:
            done.append(self._leave())
        self._waiting.append(item)
        self._latest.update(
            (track, (item, row)) for row, track in enumerate(item.detections.tracks.tolist()) if track != NO_TRACK
        )
        while len(self._waiting) > self._room:
            done.append(self._leave())
        return done

    def rest(self) -> list[Item]:
        """Return the frames that still wait; none will follow."""
        return [self._leave() for _ in range(len(self._waiting))]

    def _leave(self) -> Item:
        item = self._waiting.popleft()
        later = []
        for row, track in enumerate(item.detections.tracks.tolist()):
            source, there = self._latest.get(track, (item, row))
            if source is item:
                self._latest.pop(track, None)
            else:
                later.append((row, source.detections, there))
        if later:
            new = {name: item.detections.attributes[name].copy() for name in self._columns}
            for name, values in new.items():
                for row, detections, there in later:
                    values[row] = detections.attributes[name][there]
            item.detections = item.detections.with_attributes(**new)
        return item
