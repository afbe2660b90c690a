"""The three stages of MTCNN: P-Net proposes, R-Net rejects, O-Net refines and places the landmarks.

The steps and their constants are those of Zhang et al. (2016) as facenet-pytorch computes them; sections named below are the
paper's. Boxes between the stages are (n, 5): x1, y1, x2, y2, score.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np

from framehook import Image, geometry
from framehook_plugins.mtcnn.area import AreaPatches, AreaPool
from framehook_plugins.mtcnn.faces import Faces, Floats, no_faces
from framehook_plugins.mtcnn.feeding import Networks, Pixels
from framehook_plugins.mtcnn.pyramid import Level, pyramid

# Faces that were there a moment ago are looked for about where they should be. These places find more of them than more places
# nearer by: P-Net's own proposals lie as far apart.
_AROUND = (  # across and down, in the box's sides, and the size
    (0.0, 0.0, 1.0),
    *((0.15, 0.0, 0.85), (-0.15, 0.0, 0.85), (0.0, 0.15, 0.85), (0.0, -0.15, 0.85)),
)
# But at first O-Net alone sees the expected place itself, and is believed where it is sure. Of R-Net's boxes it then sees one or
# two, and in the end all of them: a face that was there is believed at lower scores than a new one.
_AT_SIGHT = 0.95  # O-Net's score
_FIRST_OVERLAP = 0.5  # of R-Net's boxes
_KNOWN_SCORES = (0.1, 0.4)  # of R-Net and O-Net
_FOUND_AGAIN = 0.3  # intersection over union with where it was expected

_REJECTED_OVERLAP = 0.7

Pools: TypeAlias = Mapping[int, AreaPool | AreaPatches]
"""What crops of each picture are cut from."""


class Cascade:
    """MTCNN over batches of pictures of any sizes.

    Args:
        networks: P-Net, R-Net and O-Net.
        min_face: the smallest face to look for, in pixels.
        thresholds: the scores that a candidate must reach in the three stages.
        factor: from one level of the picture pyramid to the next.
    """

    def __init__(self, networks: Networks, *, min_face: int, thresholds: tuple[float, float, float], factor: float) -> None:
        self._min_face = min_face
        self._thresholds = thresholds
        self._factor = factor
        self._networks = networks

    def find(self, images: Sequence[Image]) -> list[Faces]:
        """Return the faces of each picture, (h, w, 3) uint8 RGB, best score first."""
        return [self._find(image) for image in images]  # one by one: a picture is more than a CPU's caches hold

    def _find(self, image: Image) -> Faces:
        height, width, _ = image.shape
        if not height or not width:
            return no_faces()
        pools, sizes = {0: AreaPool(image)}, [(height, width)]
        levels = pyramid(height, width, min_face=self._min_face, factor=self._factor)
        proposals = [self._propose(pools[0].whole(level.height, level.width), level) for level in levels]
        rejected = self._reject(pools, sizes, [_merge_levels(proposals)], least=self._thresholds[1])
        (faces,) = self._refine(pools, sizes, rejected, least=self._thresholds[2])
        return faces

    def find_again(self, images: Sequence[Image], near: Sequence[Floats]) -> list[Faces]:
        """Return the faces that are left of known ones in each picture, best score first.

        O-Net looks where they should be, then R-Net and O-Net about there, for what was not found before.

        Args:
            images: (h, w, 3) uint8 RGB.
            near: (n, 4) for each picture: where faces are expected. A picture without any is not looked at.
        """
        pools = {i: AreaPatches(image) for i, image in enumerate(images)}
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        usual = self._thresholds[1:]
        lower = [min(scores) for scores in zip(usual, _KNOWN_SCORES, strict=True)]
        found = self._refine(pools, sizes, [_square(_certain(boxes)) for boxes in near], least=_AT_SIGHT, known=True)
        lost = [_not_among(boxes, faces) for boxes, faces in zip(near, found, strict=True)]
        if not any(map(len, lost)):
            return found
        about = [_proposals_about(boxes) for boxes in lost]
        candidates = self._reject(pools, sizes, about, least=lower[0], known=True)
        best = [_suppress(boxes[boxes[:, 4] > usual[0]], _FIRST_OVERLAP) for boxes in candidates]
        for least, views in ((usual[1], best), (lower[1], candidates)):
            unseen = [_not_among(boxes, faces) for boxes, faces in zip(views, found, strict=True)]
            more = self._refine(pools, sizes, unseen, least=least, known=True)
            found = [_together(some, others) for some, others in zip(found, more, strict=True)]
        return found

    def _propose(self, pixels: Pixels, level: Level) -> Floats:
        """P-Net on a level, (height, width, 4): return (n, 9) box, score, and P-Net's four regression offsets."""
        (offsets,), (score,) = self._networks.propose(pixels[None])  # (rows, columns, 4), (rows, columns)
        cells = np.argwhere(score >= self._thresholds[0])  # (n, 2) row, column
        rows, columns = cells.T
        candidates = np.concatenate([level.boxes(cells), score[rows, columns, None], offsets[rows, columns]], axis=1)
        return _suppress(candidates, 0.5)

    def _reject(
        self,
        pools: Pools,
        sizes: Sequence[tuple[int, int]],
        proposals: list[Floats],
        *,
        least: float,
        known: bool = False,
    ) -> list[Floats]:
        """R-Net on a 24 x 24 crop of each proposal; what scores no more than `least`, or overlaps a better one too much, goes."""
        boxes = [_square(_shift(p[:, :5], p[:, 5:9], extent=0)) for p in proposals]
        boxes, crops = self._cut(pools, sizes, boxes, 24)
        if not len(crops):
            return boxes
        offsets, scores = self._networks.reject(crops, known=known)
        kept = []
        for box, rows in _by_picture(boxes):
            good = scores[rows] > least
            candidates = np.concatenate([box[good, :4], scores[rows][good, None], offsets[rows][good]], axis=1)
            candidates = _suppress(candidates, _REJECTED_OVERLAP)
            kept.append(_square(_shift(candidates[:, :5], candidates[:, 5:9], extent=1)))
        return kept

    def _refine(
        self, pools: Pools, sizes: Sequence[tuple[int, int]], boxes: list[Floats], *, least: float, known: bool = False
    ) -> list[Faces]:
        """O-Net on a 48 x 48 crop of each box that is left; what scores no more than `least` goes."""
        boxes, crops = self._cut(pools, sizes, boxes, 48)
        if not len(crops):
            return [no_faces() for _ in boxes]
        offsets, points, scores = self._networks.refine(crops, known=known)
        found = []
        for box, rows in _by_picture(boxes):
            good = scores[rows] > least
            box = np.concatenate([box[good, :4], scores[rows][good, None]], axis=1)
            sides = box[:, 2:4] - box[:, 0:2] + 1
            relative = points[rows][good].reshape(-1, 2, 5).transpose(0, 2, 1)  # (n, 5, 2), of the box's sides
            landmarks = sides[:, None] * relative + box[:, None, 0:2] - 1
            box = _shift(box, offsets[rows][good], extent=1)
            # Two boxes that cover the same pixels have the same score. Which one stays is up to this sort, as in the reference.
            order = np.argsort(box[:, 4])[::-1]
            box, landmarks = box[order], landmarks[order]
            # The weights were tuned with boxes that include their last pixel: hence one more on the far side.
            inclusive = box[:, :4] + np.array([0, 0, 1, 1], np.float32)
            keep = geometry.nms(inclusive, box[:, 4], threshold=0.7, overlap="smaller")
            found.append(Faces(boxes=box[keep, :4], scores=box[keep, 4], landmarks=landmarks[keep]))
        return found

    def _cut(self, pools: Pools, sizes: Sequence[tuple[int, int]], boxes: list[Floats], side: int) -> tuple[list[Floats], Pixels]:
        """Cut all boxes, and leave out those with no pixel in their picture."""
        kept, crops = [], [np.empty((0, side, side, 4), np.float32)]
        for i, box in enumerate(boxes):
            height, width = sizes[i]
            # Boxes count pixels from 1 and include the last one, as in the code that the weights come from.
            inside = np.trunc(box[:, :4]).astype(np.int64)
            inside[:, 0:2] = np.maximum(inside[:, 0:2], 1) - 1
            inside[:, 2:4] = np.minimum(inside[:, 2:4], [width, height])
            there = (inside[:, 2:4] > inside[:, 0:2]).all(axis=1)
            kept.append(box[there])
            if there.any():
                crops.append(pools[i].crops(inside[there], side))
        return kept, np.concatenate(crops)


def _proposals_about(boxes: Floats) -> Floats:
    """Return what P-Net might have proposed of known faces, (5 n, 9): the boxes, moved a little and of other sizes."""
    centres, sides = (boxes[:, 0:2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, 0:2]
    proposals = []
    for across, down, size in _AROUND:
        middle, half = centres + np.array([across, down], np.float32) * sides, sides * np.float32(size / 2)
        proposals.append(np.concatenate([middle - half, middle + half], axis=1))
    certain = _certain(np.concatenate(proposals))
    return np.concatenate([certain, np.zeros((len(certain), 4), np.float32)], axis=1)


def _certain(boxes: Floats) -> Floats:
    """Return the boxes with the highest score, (n, 5)."""
    return np.concatenate([boxes, np.ones((len(boxes), 1), np.float32)], axis=1)


def _not_among(boxes: Floats, faces: Faces) -> Floats:
    """Return the boxes, with a score or without, where none of these faces is."""
    missed = geometry.iou(boxes[:, :4], faces.boxes).max(axis=1, initial=0) < _FOUND_AGAIN
    return np.asarray(boxes[missed])


def _together(some: Faces, others: Faces) -> Faces:
    """Return the faces of both, best score first, each once."""
    if not len(others.scores):
        return some
    both = Faces(*map(np.concatenate, zip(some, others, strict=True)))
    keep = geometry.nms(both.boxes, both.scores, threshold=0.7, overlap="smaller")
    return Faces(*(values[keep] for values in both))


def _by_picture(boxes: list[Floats]) -> list[tuple[Floats, slice]]:
    """Return each picture's boxes with their rows in the arrays that hold all pictures' crops."""
    ends = np.cumsum([len(box) for box in boxes]).tolist()
    return [(box, slice(end - len(box), end)) for box, end in zip(boxes, ends, strict=True)]


def _merge_levels(levels: list[Floats]) -> Floats:
    return _suppress(np.concatenate([np.empty((0, 9), np.float32), *levels]), 0.7)


def _suppress(candidates: Floats, threshold: float) -> Floats:
    """Non-maximum suppression on columns 0 to 4; hundreds of candidates make the compiled one worth it."""
    if not len(candidates):
        return candidates
    corners_and_sides: Any = candidates[:, :4].astype(np.float64)  # Any: the stub knows no arrays
    corners_and_sides[:, 2:4] -= corners_and_sides[:, 0:2]
    scores: Any = candidates[:, 4]
    keep = cv2.dnn.NMSBoxes(corners_and_sides, scores, score_threshold=0.0, nms_threshold=threshold)
    return np.asarray(candidates[np.asarray(keep, np.int64)])


def _shift(boxes: Floats, offsets: Floats, *, extent: int) -> Floats:
    """Move each corner by its offset, in units of the box's sides plus `extent` (section II.B, bounding box regression)."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(extent)
    moved = boxes.copy()
    moved[:, 0:2] += offsets[:, 0:2] * sides
    moved[:, 2:4] += offsets[:, 2:4] * sides
    return moved


def _square(boxes: Floats) -> Floats:
    """Widen the shorter side about the centre, as R-Net and O-Net see squares."""
    return np.concatenate([geometry.square(boxes[:, :4]), boxes[:, 4:5]], axis=1).astype(np.float32, copy=False)
