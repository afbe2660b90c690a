"""Boxes as arrays: pure functions on (n, 4) x1, y1, x2, y2."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Boxes: TypeAlias = NDArray[np.floating[Any]]


def area(boxes: Boxes) -> NDArray[Any]:
    """Return (n,) areas; a box whose corners are swapped has area 0."""
    sizes = np.maximum(boxes[:, 2:4] - boxes[:, 0:2], 0)
    return np.asarray(sizes[:, 0] * sizes[:, 1])


def intersection(a: Boxes, b: Boxes) -> NDArray[Any]:
    """Return the (n, m) areas that each of n boxes shares with each of m."""
    low = np.maximum(a[:, None, 0:2], b[None, :, 0:2])  # (n, m, 2)
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    sizes = np.maximum(high - low, 0)
    return np.asarray(sizes[..., 0] * sizes[..., 1])


def iou(a: Boxes, b: Boxes) -> NDArray[Any]:
    """Return the (n, m) intersection over union of each of n boxes with each of m; 0 where both are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def nms(
    boxes: Boxes, scores: NDArray[Any], *, threshold: float, overlap: Literal["union", "smaller"] = "union"
) -> NDArray[np.int64]:
    """Non-maximum suppression: return the indices of the boxes that are kept, best score first.

    A box goes when it overlaps a better one by more than `threshold`, measured as intersection over union or, with `smaller`,
    over the area of the smaller box, which also drops a box that lies inside another.

    Args:
        boxes: (n, 4).
        scores: (n,).
        threshold: 0 to 1.
        overlap: what the intersection is divided by.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    areas = area(boxes)
    alive = np.ones(len(boxes), dtype=bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        later = np.flatnonzero(alive[i + 1 :]) + i + 1
        shared = intersection(boxes[i : i + 1], boxes[later])[0]
        base = np.minimum(areas[i], areas[later]) if overlap == "smaller" else areas[i] + areas[later] - shared
        alive[later[shared > threshold * base]] = False
    return np.asarray(order[alive])


def clip(boxes: Boxes, *, width: int, height: int) -> Boxes:
    """Return the boxes cut to a picture of this size."""
    return np.asarray(np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype)))


def square(boxes: Boxes, *, margin: float = 0.0) -> Boxes:
    """Return squares about the boxes' centres whose side is the longer side of each box times (1 + margin).

    They may reach beyond the picture.
    """
    centres = (boxes[:, 0:2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, 0:2]).max(axis=1, keepdims=True, initial=0) * (1 + margin) / 2
    return np.concatenate([centres - half, centres + half], axis=1)
