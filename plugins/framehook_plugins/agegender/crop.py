"""The piece of picture that the network sees for a box: one function, used in training and in inference alike."""

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import Detections, Image

Squares: TypeAlias = NDArray[np.float64]
"""(n, 4) centre x, centre y and side in pixels, and by how much it is turned, in radians, clockwise as seen."""
Angles: TypeAlias = NDArray[np.float64]
"""(n,) radians."""
Border: TypeAlias = Literal["edge", "white"]

# Where MTCNN's box lies about its landmarks in an upright face that looks at the camera: medians over the pictures of UTKFace and
# FairFace, in units of the landmarks' root mean square distance from their mean.
_BOX_SIDE = 4.47
_BOX_ABOVE = 0.33
_MOST_SHRINKING = 16  # bounds the memory that a box of absurd size can ask for


def landmarks_of(detections: Detections) -> NDArray[np.floating] | None:
    """Return the attribute `landmarks` if it is MTCNN's, (n, 5, 2) x, y: left eye, right eye, nose, corners of the mouth."""
    landmarks = detections.attributes.get("landmarks")
    return landmarks if landmarks is not None and landmarks.shape[1:] == (5, 2) else None


def roll_of(landmarks: NDArray[np.floating]) -> Angles:
    """Return by how much each face is tilted, (n,) radians, clockwise as seen; 0 where a landmark is missing (NaN).

    It is the direction of the line between the eyes and of the one from the eyes to the mouth, a quarter turn back, together:
    in profile the first is short and unsteady, in a view from above the second.

    Args:
        landmarks: (n, 5, 2) as `landmarks_of` gives them.
    """
    points = landmarks.astype(np.float64)
    across = points[:, 1] - points[:, 0]
    down = points[:, 3:5].mean(axis=1) - points[:, 0:2].mean(axis=1)
    return np.asarray(np.nan_to_num(np.arctan2(across[:, 1] - down[:, 0], across[:, 0] + down[:, 1])))


def squares(boxes: NDArray[np.float32], landmarks: NDArray[np.floating] | None = None, *, margin: float, shift: float) -> Squares:
    """Return the square that is cut for each face.

    A face with landmarks is cut where they say that it is: the box of a turned head reaches behind it, and a box never tilts.
    The square is then upright to the face, and placed about the box that MTCNN would draw, were the face turned to the camera.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        landmarks: (n, 5, 2) as `landmarks_of` gives them; a face with a missing one (NaN) is cut about its box, untilted.
        margin: the square's side is the box's longer side times (1 + margin).
        shift: how far the square's centre lies below the box's, in units of the box's longer side; below as the face sees it.
    """
    corners = np.nan_to_num(boxes.astype(np.float64), posinf=0, neginf=0)
    longer = (corners[:, 2:4] - corners[:, 0:2]).max(axis=1, initial=0)
    centre = (corners[:, 0:2] + corners[:, 2:4]) / 2
    angle = np.zeros(len(boxes))
    if landmarks is not None:
        points = landmarks.astype(np.float64)
        middle = points.mean(axis=1)  # (n, 2)
        radius = np.sqrt(((points - middle[:, None]) ** 2).sum(axis=2).mean(axis=1))
        angle = roll_of(landmarks)
        above = _BOX_ABOVE * radius[:, None] * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
        there = np.isfinite(radius)
        centre = np.where(there[:, None], middle + above, centre)
        longer = np.where(there, _BOX_SIDE * radius, longer)
    centre += shift * longer[:, None] * _down(angle)
    return np.column_stack([centre, np.maximum(longer * (1 + margin), 1), angle])


def moved(squares: Squares, *, down: float) -> Squares:
    """Return the squares moved down as the faces see it, by this share of their sides."""
    centre, side, angle = squares[:, 0:2], squares[:, 2:3], squares[:, 3]
    return np.column_stack([centre + down * side * _down(angle), squares[:, 2:4]])


def cut(image: Image, squares: Squares, size: int, *, border: Border = "edge") -> NDArray[np.uint8]:
    """Return what the network sees of each square, (n, size, size, 3) uint8 RGB, upright.

    Corners are met to a fraction of a pixel, and shrinking averages all pixels.

    Args:
        image: (height, width, 3) RGB.
        squares: (n, 4); they may reach beyond the picture.
        size: pixels of the result's sides.
        border: what stands for the pixels beyond the picture: its edge, repeated, or white.
    """
    crops = np.zeros((len(squares), size, size, 3), np.uint8)
    if image.size:
        for crop, square in zip(crops, squares, strict=True):
            crop[...] = _cut_square(image, square, size, border)
    return crops


def share_inside(squares: Squares, *, width: int, height: int) -> NDArray[np.float64]:
    """Return the share of each square that lies inside a picture of this size, (n,) of 0 to 1, in steps of 1/256."""
    ticks = (np.arange(16) + 0.5) / 16 - 0.5
    across, down = np.meshgrid(ticks, ticks)
    x, y, side, angle = squares.T[:, :, None, None]  # (n, 1, 1) each
    grid_x = x + side * (across * np.cos(angle) - down * np.sin(angle))  # (n, 16, 16)
    grid_y = y + side * (across * np.sin(angle) + down * np.cos(angle))
    inside = (grid_x >= 0) & (grid_x < width) & (grid_y >= 0) & (grid_y < height)
    return np.asarray(inside.mean(axis=(1, 2)))


def _down(angle: Angles) -> NDArray[np.float64]:
    """Return the direction from the eyes to the mouth of faces turned by so much, (n, 2) x, y of length 1."""
    return np.stack([-np.sin(angle), np.cos(angle)], axis=1)


def _cut_square(image: Image, square: NDArray[np.float64], size: int, border: Border) -> Image:
    import cv2  # a twentieth of a second that listing the plugins does without

    x, y, side, angle = square.tolist()
    # Bilinear sampling skips pixels once it shrinks: so sample at least as finely as the picture and average the rest away.
    fine = min(max(math.ceil(side / size), 1), _MOST_SHRINKING)
    step = side / (size * fine)
    turn = step * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    # The middle of the result is the square's centre. A pixel's own centre lies half a pixel beyond its index.
    offset = np.array([x, y]) - 0.5 - turn @ np.full(2, (size * fine - 1) / 2)
    sampled = cv2.warpAffine(
        image,
        np.concatenate([turn, offset[:, None]], axis=1),
        (size * fine, size * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if border == "edge" else cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    averaged = cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA) if fine > 1 else sampled
    return np.asarray(averaged, dtype=np.uint8)
