"""Where a caption's plate goes: beside its box, inside the picture, off other plates and boxes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from framehook import geometry

# What covering a pixel costs. Two plates on each other cannot be read at all; a face under a plate is what people look for.
_ON_PLATE = 20.0
_ON_OTHER_BOX = 4.0
_ON_OWN_BOX = 2.0
_LESS_USUAL = 0.02  # share of the plate's area, for each step down the list of places


class Rectangle(NamedTuple):
    """Whole pixels; x2 and y2 lie outside."""

    x1: int
    y1: int
    x2: int
    y2: int

    def grown(self, by: int, *, width: int, height: int) -> "Rectangle":
        """Return the rectangle with this many pixels more on each side, as far as a picture of this size has them."""
        return Rectangle(max(self.x1 - by, 0), max(self.y1 - by, 0), min(self.x2 + by, width), min(self.y2 + by, height))


def place(
    sizes: Sequence[tuple[int, int]],
    box: Rectangle,
    *,
    picture: tuple[int, int],
    plates: Sequence[Rectangle],
    others: Sequence[Rectangle],
) -> tuple[int, Rectangle]:
    """Return which of the shapes that a plate can have covers least, and where.

    Args:
        sizes: width and height of each shape, the most wanted first.
        box: what the plate belongs to.
        picture: width and height; the plate stays inside, or begins inside where it is larger.
        plates: those that have their place.
        others: the other boxes.
    """
    places = [rectangle for size in sizes for rectangle in _places(size, box, picture)]
    obstacles = np.array([box, *plates, *others], np.float32)
    harm = np.array([_ON_OWN_BOX, *[_ON_PLATE] * len(plates), *[_ON_OTHER_BOX] * len(others)], np.float32)
    candidates = np.array(places, np.float32)
    per_size = len(places) // len(sizes)
    usual = np.arange(len(places)) % per_size
    cost = geometry.intersection(candidates, obstacles) @ harm + _LESS_USUAL * usual * geometry.area(candidates)
    best = int(np.argmin(cost))
    return best // per_size, places[best]


def _places(size: tuple[int, int], box: Rectangle, picture: tuple[int, int]) -> list[Rectangle]:
    """Return the places for a plate, the most usual first."""
    width, height = size
    left, right = box.x1, box.x2 - width
    above, below = box.y1 - height, box.y2
    corners = [
        (left, above),
        (left, below),
        (right, above),
        (right, below),
        (box.x2, box.y1),  # beside it
        (box.x1 - width, box.y1),
        (box.x2, box.y2 - height),
        (box.x1 - width, box.y2 - height),
        *((x, y) for far in (height, 2 * height) for x in (left, right) for y in (above - far, below + far)),
        (left, box.y1),  # inside
        (left, box.y2 - height),
    ]
    inside = [(max(0, min(x, picture[0] - width)), max(0, min(y, picture[1] - height))) for x, y in corners]
    return [Rectangle(x, y, x + width, y + height) for x, y in inside]
