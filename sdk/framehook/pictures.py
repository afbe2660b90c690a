"""Pictures and frames made for tests."""

from fractions import Fraction

import numpy as np

from framehook.frame import Frame, Image, StreamInfo
from framehook.video import ArrayPicture


def grey_image(width: int, height: int, *, value: int = 0) -> Image:
    """Return a flat grey picture, (height, width, 3)."""
    return np.full((height, width, 3), value, np.uint8)


def make_frame(image: Image, *, index: int = 0, seconds: float = 0.0, stream: StreamInfo | None = None) -> Frame:
    """Return a frame that shows this picture; its stream, unless given, has the picture's size."""
    height, width = image.shape[:2]
    return Frame(
        stream=stream or StreamInfo(name="test", width=width, height=height),
        index=index,
        pts=round(seconds * 1_000_000),
        time_base=Fraction(1, 1_000_000),
        picture=ArrayPicture(image),
    )
