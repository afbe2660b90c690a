"""How much a view of a face says: its weight among the views of its track."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import Detections
from framehook_plugins.agegender.crop import Squares, landmarks_of, share_inside

Weights: TypeAlias = NDArray[np.float32]

_LEAST = 0.01


def view_quality(detections: Detections, squares: Squares, *, width: int, height: int, input_size: int) -> Weights:
    """Return the weight of each view, (n,) of 0.01 to 1: the product of four doubts, each 1 for a perfect view.

    - The detector's score: a box that is half a guess is half a face.
    - The crop's side over the network's input, at most 1: an enlarged face shows no more than its own pixels.
    - The share of the crop inside the picture: beyond it there is only a repeated edge.
    - Frontality, where the detector gives landmarks: most training faces look at the camera, one in profile is guessed at.

    None is 0, so a track of nothing but poor views still has an answer: theirs.

    Args:
        detections: scores and, if there, landmarks count.
        squares: (n, 4) what is cut out.
        width: of the picture.
        height: of the picture.
        input_size: pixels of the network's input.
    """
    quality = detections.scores.clip(0, 1) * np.minimum(squares[:, 2] / input_size, 1)
    quality = quality * share_inside(squares, width=width, height=height)
    landmarks = landmarks_of(detections)
    if landmarks is not None:
        quality = quality * frontality(landmarks)
    return np.asarray(np.nan_to_num(quality).clip(_LEAST, 1), dtype=np.float32)


def frontality(landmarks: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return 1 where the nose lies midway between the eyes, falling to 0 where it lies below or beyond one of them, (n,).

    Args:
        landmarks: (n, 5, 2) as `landmarks_of` gives them.
    """
    left, right, nose = landmarks[:, 0], landmarks[:, 1], landmarks[:, 2]
    eyes = right - left
    length = np.maximum((eyes**2).sum(axis=1), 1e-6)
    along = ((nose - left) * eyes).sum(axis=1) / length  # 0 below the left eye, 1 below the right one; tilt does not matter
    return np.asarray(np.maximum(1 - np.abs(2 * along - 1), 0))
