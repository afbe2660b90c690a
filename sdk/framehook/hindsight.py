"""What a frame of a recording says of its tracks, once what follows is known too."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from framehook import geometry
from framehook.contracts import Column
from framehook.detections import NO_TRACK, Detections
from framehook.frame import StreamInfo
from framehook.steps import Item

_SECONDS = 0.8  # in which a new track is looked at eight times; docs/models.md says how much steadier its reports are
_FRAMES, _BYTES = 24, 3 << 26  # that wait, at most
_BYTES_A_PIXEL = 4.5  # of a frame that was looked at: the decoder's planes, and RGB
_SAME = 0.5  # intersection over union, in frames next to each other


class Hindsight:
    """The frames of one stream that wait until more is known of their tracks.

    A recording has no hurry. The aggregate of a track's first views swings from one view to the next: each frame reports what is
    known of its tracks a moment later, but for columns of aggregate `last`, which are of their own moment. And a tracker gives an
    id once it is sure: the detection that led there has it in the frames that wait, too.

    Args:
        stream: whose frames.
        columns: of all classifiers.
    """

    def __init__(self, stream: StreamInfo, columns: Sequence[Column]) -> None:
        self._columns = [column.name for column in columns if column.aggregate != "last"]
        self._room = min(_FRAMES, int(_BYTES / _BYTES_A_PIXEL / (stream.width * stream.height)))
        self._waiting: deque[Item] = deque()
        self._latest: dict[int, tuple[Item, int]] = {}  # by track: of the frames that wait the last one with it, and its row
        self._highest = 0  # of the ids, which rise

    def take(self, item: Item) -> list[Item]:
        """Take in the next frame, with what is known at its own time, and return those before it, or itself, that are done."""
        done = []
        while self._waiting and not 0 <= item.frame.seconds - self._waiting[0].frame.seconds < _SECONDS:
            done.append(self._leave())
        self._recognise(item)
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

    def _recognise(self, item: Item) -> None:
        """Give the tracks that are new in a frame to what they were before they had an id, frame by frame."""
        tracks = item.detections.tracks
        known = item.detections[tracks > self._highest]
        self._highest = max(self._highest, int(tracks.max(initial=0)))
        for earlier in reversed(self._waiting):
            before = earlier.detections
            free = np.flatnonzero(before.tracks == NO_TRACK)
            if not len(known) or not len(free):
                return
            rows, others = _same(known, before[free])
            named = before.tracks.copy()
            named[free[others]] = known.tracks[rows]
            earlier.detections = before.with_tracks(named)
            known = earlier.detections[free[others]]

    def _leave(self) -> Item:
        item = self._waiting.popleft()
        later = []
        for row, track in enumerate(item.detections.tracks.tolist()):
            source, there = self._latest.get(track, (item, row))
            if source is item:
                self._latest.pop(track, None)
            else:
                later.append((row, source.detections, there))
        if later and self._columns:
            new = {name: item.detections.attributes[name].copy() for name in self._columns}
            for name, values in new.items():
                for row, detections, there in later:
                    values[row] = detections.attributes[name][there]
            item.detections = item.detections.with_attributes(**new)
        return item


def _same(found: Detections, others: Detections) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of what overlaps each other most, and enough to be the same, in detections that are not empty."""
    overlap = geometry.iou(found.boxes, others.boxes)
    words = np.array(found.names)[found.labels][:, None] == np.array(others.names)[others.labels][None, :]
    overlap = np.where(words, overlap, 0)
    rows, best = np.arange(len(found)), overlap.argmax(axis=1)
    mutual = (overlap[rows, best] >= _SAME) & (overlap.argmax(axis=0)[best] == rows)
    return rows[mutual], best[mutual]
