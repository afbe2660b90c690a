"""How well a face can be seen: its pixels, its sharpness, and how sure the detector was."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from framehook import UsageError

SHARPNESS_SIDE = 112
"""Pixels of the sides that a crop is brought to before its sharpness is measured: the same face at twice the size is as sharp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """The least that a face must show; None asks for nothing."""

    min_size: float | None = None
    """Pixels of the picture in the crop's side."""
    min_sharpness: float | None = None
    """As `sharpness` measures it."""
    min_score: float | None = None
    """Of the detector, 0 to 1; a face that it did not find has none, and is left out."""

    def __post_init__(self) -> None:
        for name in ("min_size", "min_sharpness", "min_score"):
            least = getattr(self, name)
            if least is not None and not math.isfinite(least):
                raise UsageError(f"{name} must be a finite number, got {least:g}")

    def judge(
        self, what: Literal["size", "sharpness", "score"], values: NDArray[np.floating]
    ) -> tuple[str, NDArray[np.bool_]] | None:
        """Return the name of the rule on one quality, and which faces it leaves out, (n,); None where nothing is asked for.

        Args:
            what: the quality.
            values: (n,) of each face; what is not known (NaN) is too little.
        """
        least = {"size": self.min_size, "sharpness": self.min_sharpness, "score": self.min_score}[what]
        return None if least is None else (f"{what} below {least:g}", ~(values >= least))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of a crop's brightness.

    Source: Pech-Pacheco, Cristóbal, Chamorro-Martínez and Fernández-Valdivia, "Diatom autofocusing in brightfield microscopy: a
    comparative study" (ICPR 2000), section 2. Sharp faces have some hundreds, blurred ones some tens.

    Args:
        crop: (side, side, 3) RGB.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    shrinks = crop.shape[0] > SHARPNESS_SIDE
    grey = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
