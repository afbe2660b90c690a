"""The piece of picture that the network sees for a box: one function, used in training and in inference alike."""

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import Image

Squares: TypeAlias = NDArray[np.float64]
"""(n, 3) centre x, centre y and side, in pixels."""

_MOST_SHRINKING = 16  # bounds the memory that a box of absurd size can ask for


def squares(boxes: NDArray[np.float32], *, margin: float, shift: float) -> Squares:
    """Return the square that is cut for each box.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        margin: the square's side is the box's longer side times (1 + margin).
        shift: how far the square's centre lies below the box's, in units of the box's longer side.
    """
    corners = np.nan_to_num(boxes.astype(np.float64))
    longer = (corners[:, 2:4] - corners[:, 0:2]).max(axis=1, initial=0)
    centre_x = (corners[:, 0] + corners[:, 2]) / 2
    centre_y = (corners[:, 1] + corners[:, 3]) / 2 + shift * longer
    return np.stack([centre_x, centre_y, np.maximum(longer * (1 + margin), 1)], axis=1)


def cut(image: Image, boxes: NDArray[np.float32], *, margin: float, shift: float, size: int) -> NDArray[np.uint8]:
    """Return what the network sees for each box, (n, size, size, 3) uint8 RGB.

    Corners are met to a fraction of a pixel, shrinking averages all pixels, and what lies beyond the picture repeats its edge.
    A box without area is cut as one pixel.

    Args:
        image: (height, width, 3) RGB.
        boxes: (n, 4) x1, y1, x2, y2 in pixels; they may reach beyond the picture.
        margin: as for `squares`.
        shift: as for `squares`.
        size: pixels of the result's sides.
    """
    crops = np.zeros((len(boxes), size, size, 3), np.uint8)
    if image.size:
        for crop, (x, y, side) in zip(crops, squares(boxes, margin=margin, shift=shift).tolist(), strict=True):
            crop[...] = _cut_square(image, x, y, side, size)
    return crops


def inside(width: int, height: int, boxes: NDArray[np.float32], *, margin: float, shift: float) -> NDArray[np.float64]:
    """Return the share of each box's square that lies inside a picture of this size, (n,) of 0 to 1."""
    x, y, side = squares(boxes, margin=margin, shift=shift).T
    across = np.minimum(x + side / 2, width) - np.maximum(x - side / 2, 0)
    down = np.minimum(y + side / 2, height) - np.maximum(y - side / 2, 0)
    return np.asarray(np.maximum(across, 0) * np.maximum(down, 0) / side**2)


def _cut_square(image: Image, x: float, y: float, side: float, size: int) -> Image:
    # Bilinear sampling skips pixels once it shrinks: so sample at least as finely as the picture and average the rest away.
    fine = min(max(math.ceil(side / size), 1), _MOST_SHRINKING)
    step = side / (size * fine)
    # Pixel i of the result has its centre at i + 1/2, and so has a pixel of the picture.
    to_picture = np.array([[step, 0, x - side / 2 + step / 2 - 0.5], [0, step, y - side / 2 + step / 2 - 0.5]])
    sampled = cv2.warpAffine(
        image,
        to_picture,
        (size * fine, size * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    averaged = cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA) if fine > 1 else sampled
    return np.asarray(averaged, dtype=np.uint8)
