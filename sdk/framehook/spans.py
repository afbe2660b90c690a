"""What is in the frames between two that are detected on: faces that both know, and faces that only one of them does."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import geometry
from framehook.detections import Detections
from framehook.steps import Item

_REACH = 1.25  # of a face's size: how far it may move from one end to the other, and still be taken for the same
_RATIO = 1.3  # of the sizes
_TRY_AGAIN = 3  # frames, until a face that was lost from sight is looked for again: to find that it is not there takes longest
_SAME = 0.4  # intersection over union, of two ways to the same face
_WORTH_A_DETECTION_SECONDS = 0.58  # shorter spans gained nothing by another detection in their middle, and busy scenes have many

_Box: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """The frame before a span's first."""

    seconds: float
    faces: Detections
    """What is in it, without attributes."""
    missing: Detections = field(default_factory=Detections.empty)
    """What was lost from sight before, where it should be."""

    @classmethod
    def at(cls, item: Item) -> "Start":
        """Return a frame that was detected on as a start."""
        return cls(item.frame.seconds, bare(item.detections))


@dataclass(slots=True)
class _Trail:
    """A face that only one end of a span knows, followed away from there."""

    row: int
    """Among the faces of both ends."""
    onward: int
    """1 from the span's start, -1 from its end."""
    place: int
    """The frame in which it is looked for next."""
    box: _Box
    """Where it was last."""
    moved: _Box
    """How it moves from there, a little damped."""
    missing: bool
    """Whether it was lost from sight before, and has not turned up again."""


class Span:
    """The frames between two, and what is to be looked for in each.

    A face that both ends know is looked for on the straight way between its two places, one that only one end knows in frame
    after frame from there, and one that was lost from sight before now and then, until it is there again. Frames are asked
    for with their `Item.near`; there, `tracks` only tells the faces apart.

    Args:
        items: the frames between, in order.
        start: the frame before them.
        end: the frame after them, which was detected on. If it shows another scene, its faces are not those of the span.
    """

    def __init__(self, items: list[Item], *, start: Start, end: Item) -> None:
        self.items = items
        self.end = end
        self._start = start
        after = Detections.empty() if end.cut else bare(end.detections)
        self._faces = Detections.concatenate([start.faces, start.missing, after])  # numbered by their rows
        self._seen, before = len(start.faces), len(start.faces) + len(start.missing)
        first, second = _pairs(self._faces[:before], self._faces[before:])
        self._pairs = np.stack([first, second + before], axis=1)  # (n, 2) rows
        self._found: list[list[Detections]] = [[] for _ in items]
        alone = np.setdiff1d(np.arange(len(self._faces)), self._pairs)
        self.new = end.cut or bool((alone >= before).any())
        """Whether the end knows a face that the start does not."""
        self.lost = False
        """Whether a face was not found where it should be."""
        self.done = False
        """Whether all faces were looked for as far as they go."""
        self._trails = [self._trail(row, onward=row < before) for row in alone.tolist()] if items else []

    @property
    def empty(self) -> bool:
        """Whether neither end knows of a face."""
        return not len(self._faces)

    @property
    def worth_a_detection(self) -> bool:
        """Whether the span is long enough for another detection in its middle."""
        return bool(self.items) and not 0 <= self.end.frame.seconds - self._start.seconds < _WORTH_A_DETECTION_SECONDS

    @property
    def middle(self) -> Item:
        """The frame in the middle."""
        return self.items[len(self.items) // 2]

    def parted(self) -> tuple["Span", "Span"]:
        """Return the spans before and after the middle, which was detected on."""
        at = len(self.items) // 2
        return (
            Span(self.items[:at], start=self._start, end=self.middle),
            Span(self.items[at + 1 :], start=Start.at(self.middle), end=self.end),
        )

    def ask(self) -> list[Item]:
        """Return the frames that are to be looked at next: first along the trails, then, at once, for faces of both ends."""
        if not self._trails:
            return self._ask_between()
        places = sorted({trail.place for trail in self._trails})
        for place in places:
            here = [trail for trail in self._trails if trail.place == place]
            self._ask(place, [trail.row for trail in here], np.stack([trail.box + trail.moved for trail in here]))
        return [self.items[place] for place in places]

    def take(self) -> None:
        """Take in what was found in these frames."""
        if self._trails:
            self._take_trails()
        else:
            there = np.count_nonzero(self._pairs[:, 0] < self._seen)
            self.lost |= any(len(item.detections) < there for item in self.items)
            self.done = True

    def settle(self) -> None:
        """Write into the frames what was found in each, every face once."""
        for item, others in zip(self.items, self._found, strict=True):
            found = Detections.concatenate([item.detections, *others])
            same = (geometry.iou(found.boxes, found.boxes) >= _SAME) & (found.labels[:, None] == found.labels[None, :])
            kept = list(range(len(item.detections)))
            kept += [row for row in range(len(kept), len(found)) if not same[row, :row].any()]
            item.detections = found[kept].with_tracks(self._faces.tracks[found.tracks[kept] - 1])

    def _ask_between(self) -> list[Item]:
        first, last = self._faces.boxes[self._pairs[:, 0]], self._faces.boxes[self._pairs[:, 1]]
        for place, item in enumerate(self.items):
            share = self._share(item)
            self._ask(place, self._pairs[:, 0], first * np.float32(1 - share) + last * np.float32(share))
        return self.items if len(self._pairs) else []

    def _take_trails(self) -> None:
        for place in {trail.place for trail in self._trails}:
            self._found[place].append(self.items[place].detections)
        still = []
        for trail in self._trails:
            found = self._found[trail.place][-1]
            boxes = found.boxes[found.tracks == trail.row + 1]
            if len(boxes):
                trail.moved, trail.box = (boxes[0] - trail.box) / 2, boxes[0]
                trail.place += trail.onward
                trail.missing = False
            elif trail.missing:
                trail.place += _TRY_AGAIN
            else:
                self.lost = True
                continue
            if 0 <= trail.place < len(self.items):
                still.append(trail)
        self._trails = still

    def _trail(self, row: int, *, onward: bool) -> _Trail:
        box = self._faces.boxes[row]
        missing = onward and row >= self._seen
        return _Trail(row, 1 if onward else -1, 0 if onward else len(self.items) - 1, box, np.zeros_like(box), missing)

    def _ask(self, place: int, rows: Any, boxes: _Box) -> None:
        item, faces = self.items[place], self._faces
        item.detections = Detections.empty()
        item.near = Detections(
            boxes=boxes, scores=faces.scores[rows], labels=faces.labels[rows], tracks=np.asarray(rows) + 1, names=faces.names
        )

    def _share(self, item: Item) -> float:
        """Return how much of the way from the start to the end a frame has behind it, 0 to 1."""
        length = self.end.frame.seconds - self._start.seconds
        return min(max((item.frame.seconds - self._start.seconds) / length, 0.0), 1.0) if length > 0 else 0.5


def bare(detections: Detections) -> Detections:
    """Return detections without what a detector or a classifier has said of them."""
    return detections.without_attributes(*detections.attributes)


def _pairs(before: Detections, after: Detections) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of faces that are each other's nearest, and not too far or too different to be the same."""
    if not len(before) or not len(after):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first, second = before.boxes.astype(np.float64), after.boxes.astype(np.float64)
    sizes, others = np.sqrt(geometry.area(first))[:, None], np.sqrt(geometry.area(second))[None, :]
    way = np.linalg.norm(_centres(first)[:, None] - _centres(second)[None, :], axis=2)
    smaller, larger = np.minimum(sizes, others), np.maximum(sizes, others)
    near = (way <= _REACH * np.sqrt(sizes * others)) & (larger <= _RATIO * smaller)
    near &= before.labels[:, None] == after.labels[None, :]
    way[~near] = np.inf
    rows = np.arange(len(first))
    nearest = way.argmin(axis=1)
    mutual = near[rows, nearest] & (way.argmin(axis=0)[nearest] == rows)
    return rows[mutual], nearest[mutual]


def _centres(boxes: _Box) -> _Box:
    return (boxes[:, 0:2] + boxes[:, 2:4]) / 2
