"""What the cascade finds in one picture."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


class Faces(NamedTuple):
    """The faces of one picture."""

    boxes: Floats
    """(n, 4) x1, y1, x2, y2 in pixels; they may reach beyond the picture."""
    scores: Floats
    """(n,), the best first."""
    landmarks: Floats
    """(n, 5, 2) x, y in pixels."""


def no_faces() -> Faces:
    """Return those of a picture without any."""
    return Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
