"""The picture pyramid: at which sizes P-Net looks at a picture, and what its cells stand for there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framehook_plugins.mtcnn.faces import Floats

_CELL = 12  # P-Net sees 12 x 12 pixels ...
_STRIDE = 2  # ... at every second position


@dataclass(frozen=True, slots=True)
class Level:
    """One size."""

    scale: float
    """Of the picture's."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of P-Net's answer."""
        return ((self.height - 1) // _STRIDE - 4, (self.width - 1) // _STRIDE - 4)

    def boxes(self, cells: NDArray[np.integer]) -> Floats:
        """Return where in the picture P-Net's cells look, (n, 4), for (n, 2) row, column."""
        corner = _STRIDE * cells[:, ::-1].astype(np.float32)  # x, y in the level's pixels
        scale = np.float32(self.scale)
        return np.concatenate([np.floor((corner + 1) / scale), np.floor((corner + _CELL) / scale)], axis=1)


def pyramid(height: int, width: int, *, min_face: int, factor: float) -> list[Level]:
    """Return the levels for a picture of this size, the largest first."""
    scale = _CELL / min_face
    shorter = min(height, width) * scale
    levels = []
    while shorter >= _CELL:
        levels.append(Level(scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= factor
        shorter *= factor
    return levels
