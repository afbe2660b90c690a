"""The tracker `iou`: boxes that overlap, or lie near, where their track was going."""

from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from framehook import NO_TRACK, Detections, Frame, check_options, geometry
from framehook_plugins.trackers import motion
from framehook_plugins.trackers.assignment import Pairs, assign

_TRACK = np.dtype(
    [
        ("id", np.int64),  # NO_TRACK until confirmed
        ("label", np.int64),
        ("score", np.float64),  # of the last detection
        ("seen", np.float64),  # seconds, when last
        ("since", np.float64),  # seconds, when first seen without a miss; infinite after a miss
        ("sure", np.int64),  # number of detections with a high score
        ("state", motion.STATE),  # as it was when last seen
    ]
)

_UNCONFIRMED_SECONDS = 0.5  # a candidate is forgotten sooner than a track: what flickers is rarely a face
_STEADY_SECONDS = 2.0  # a candidate without a single miss for so long gets its id whatever its scores
_DEVIATIONS = 3.0  # of the predicted position: a detection farther away is something else
_SIZE_RATIO = 1.3  # a box does not grow or shrink by more between two detections; on real clips it tells a head from the next one

Tracks: TypeAlias = NDArray[np.void]
"""(n,) of `_TRACK`."""


class IouTracker:
    """Follow boxes from frame to frame by where they are.

    Each track's box is predicted with nearly constant velocity, in the stream's own time, and paired with the detections of the
    same label so that the sum of the overlaps is largest: Bewley, Ge, Ott, Ramos and Upcroft, "Simple Online and Realtime
    Tracking" (ICIP 2016). What is left is paired in a second round by distance, as far as the motion so far makes it plausible:
    after Yang, Odashima, Masui and Jiang, "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier
    by Buffering the Matching Space" (WACV 2023). Detections with low scores continue tracks, but do not confirm them: after Zhang
    et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (ECCV 2022).

    A track gets its id, 1, 2, 3 and so on, once it is confirmed: by `confirm` sure detections, or by two seconds without a miss
    whatever the scores. Until then its detections have the track -1. A track ends after `gap_seconds` unseen, or when it has left
    the picture; all end when the stream's time leaps by more than that, back or ahead. A stream of fewer than 1 / `gap_seconds`
    frames per second therefore has no tracks. Labels are told apart by their words: a detector may name other ones on each frame.

    Args:
        gap_seconds: how long a track outlives its last detection.
        confirm: how many sure detections make a track.
        sure_score: from which score on a detection counts as sure; the default suits MTCNN, whose false alarms seldom reach it.
        min_iou: the overlap that pairs a detection with a prediction in the first round.
        reach: the farthest that a detection may lie from a prediction in the second round, in box sizes; 0 for no second round.
    """

    def __init__(
        self,
        *,
        gap_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.5,
        confirm: Annotated[int, Field(ge=1)] = 3,
        sure_score: Annotated[float, Field(ge=0, le=1)] = 0.97,
        min_iou: Annotated[float, Field(gt=0, lt=1)] = 0.3,
        reach: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.25,
    ) -> None:
        given = {"gap_seconds": gap_seconds, "confirm": confirm, "sure_score": sure_score, "min_iou": min_iou, "reach": reach}
        check_options("plugin 'iou'", IouTracker, given)
        self._gap_seconds = gap_seconds
        self._confirm = confirm
        self._sure_score = sure_score
        self._min_iou = min_iou
        self._reach = reach
        self._tracks: Tracks = np.empty(0, _TRACK)
        self._names: tuple[str, ...] = ("face",)
        self._now = -np.inf
        self._next_id = 1

    def update(self, frame: Frame, detections: Detections) -> Detections:
        """Return the same detections, in the same order, with their tracks."""
        self._keep_time(frame, detections)
        boxes = detections.boxes.astype(np.float64)
        finite = np.isfinite(boxes).all(axis=1, keepdims=True)
        usable = np.flatnonzero(geometry.area(np.where(finite, boxes, 0)) > 0)
        boxes, scores, labels = boxes[usable], detections.scores[usable], detections.labels[usable]

        expected = _at(self._tracks, self._now)
        rows, columns = self._pair(expected, boxes, labels)
        fresh = _others(len(boxes), columns)
        self._follow(expected, rows, boxes[columns], scores[columns])
        self._begin(boxes[fresh], scores[fresh], labels[fresh])
        self._confirm_ready()

        ids = np.full(len(detections), NO_TRACK)
        ids[usable[columns]] = self._tracks["id"][rows]
        ids[usable[fresh]] = self._tracks["id"][len(expected) :]
        self._forget(frame)
        return detections.with_tracks(ids)

    def predict(self, frame: Frame) -> Detections:
        """Return where the confirmed tracks should be in this frame, with their last scores."""
        tracks = self._tracks[(self._tracks["id"] != NO_TRACK) & (_age(self._tracks, frame.seconds) <= self._gap_seconds)]
        return Detections(
            boxes=motion.boxes_of(_at(tracks, frame.seconds)).astype(np.float32),
            scores=tracks["score"],
            labels=tracks["label"],
            tracks=tracks["id"],
            names=self._names,
        )

    def _keep_time(self, frame: Frame, detections: Detections) -> None:
        """Move on to the time of this frame; tracks do not outlive a leap."""
        back = self._now - frame.seconds  # a little back is a camera's jitter, and no time at all
        alive = _age(self._tracks, frame.seconds) <= self._gap_seconds
        self._tracks = self._tracks[alive & (back <= self._gap_seconds)]
        self._now = frame.seconds
        if len(detections) and detections.names != self._names:
            self._rename(detections.names)

    def _rename(self, names: tuple[str, ...]) -> None:
        """Number the tracks' labels as these names do. A word of tracks that is not among them comes after: they wait for it."""
        words = [self._names[label] for label in self._tracks["label"]]
        self._names = (*names, *dict.fromkeys(word for word in words if word not in names))
        self._tracks["label"] = [self._names.index(word) for word in words]

    def _pair(self, expected: motion.States, boxes: motion.Boxes, labels: NDArray[np.int64]) -> Pairs:
        """Return rows of tracks, and the rows of detections that belong to them."""
        same = self._tracks["label"][:, None] == labels[None, :]
        overlap = geometry.iou(motion.boxes_of(expected), boxes)
        rows, columns = assign(overlap, same & (overlap >= self._min_iou))
        lost = _others(len(expected), rows)
        free = _others(len(boxes), columns)
        if not (len(lost) and len(free) and self._reach):
            return rows, columns
        distance, ratio = _compare(expected[lost], boxes[free])
        limit = np.minimum(_DEVIATIONS * motion.spread(expected[lost]), self._reach)[:, None]
        near = (distance <= limit) & (ratio <= _SIZE_RATIO) & same[np.ix_(lost, free)]
        more_rows, more_columns = assign(self._reach - distance, near)
        return np.concatenate([rows, lost[more_rows]]), np.concatenate([columns, free[more_columns]])

    def _follow(self, expected: motion.States, rows: NDArray[np.int64], boxes: motion.Boxes, scores: NDArray[Any]) -> None:
        """Take in the detections of known tracks."""
        tracks = self._tracks
        since = tracks["since"][rows]
        tracks["since"] = np.inf
        tracks["since"][rows] = np.minimum(since, self._now)
        tracks["seen"][rows] = self._now
        tracks["score"][rows] = scores
        tracks["sure"][rows] += scores >= self._sure_score
        tracks["state"][rows] = motion.correct(expected[rows], boxes)

    def _begin(self, boxes: motion.Boxes, scores: NDArray[Any], labels: NDArray[np.int64]) -> None:
        if not len(boxes):
            return
        new = np.zeros(len(boxes), _TRACK)
        new["id"] = NO_TRACK
        new["label"] = labels
        new["score"] = scores
        new["seen"] = new["since"] = self._now
        new["sure"] = scores >= self._sure_score
        new["state"] = motion.start(boxes)
        self._tracks = np.concatenate([self._tracks, new])

    def _confirm_ready(self) -> None:
        """Give ids to the candidates that have earned them."""
        tracks = self._tracks
        ready = (tracks["sure"] >= self._confirm) | (self._now - tracks["since"] >= _STEADY_SECONDS)
        chosen = np.flatnonzero(ready & (tracks["id"] == NO_TRACK))
        tracks["id"][chosen] = self._next_id + np.arange(len(chosen))
        self._next_id += len(chosen)

    def _forget(self, frame: Frame) -> None:
        """Forget candidates that did not come again, and tracks that were last seen on their way out of the picture."""
        tracks = self._tracks
        age = _age(tracks, self._now)
        if not age.any():
            return
        boxes = motion.boxes_of(_at(tracks, self._now))
        outside = (boxes[:, 2:4] <= 0).any(axis=1) | (boxes[:, 0:2] >= [frame.width, frame.height]).any(axis=1)
        flicker = (tracks["id"] == NO_TRACK) & (age > _UNCONFIRMED_SECONDS)
        self._tracks = tracks[~flicker & ~(outside & (age > 0))]


def _age(tracks: Tracks, now: float) -> NDArray[np.float64]:
    return np.maximum(now - tracks["seen"], 0)


def _at(tracks: Tracks, now: float) -> motion.States:
    return motion.advance(tracks["state"], _age(tracks, now))


def _others(n: int, taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from 0 to n - 1 that are not taken."""
    left = np.ones(n, bool)
    left[taken] = False
    return np.flatnonzero(left)


def _compare(expected: motion.States, boxes: motion.Boxes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances of the centres in box sizes, and how many times larger the larger of two boxes is, (n, m) each."""
    seen = motion.start(boxes)
    sizes, others = (np.sqrt(states["extent"].prod(axis=1)) for states in (expected, seen))
    way = np.linalg.norm(expected["centre"][:, None] - seen["centre"][None, :], axis=2)
    ratio = sizes[:, None] / others[None, :]
    return way / np.sqrt(sizes[:, None] * others[None, :]), np.maximum(ratio, 1 / ratio)
