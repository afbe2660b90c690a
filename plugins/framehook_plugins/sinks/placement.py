"""Where a caption's plate goes: beside its box, inside the picture, off other plates and boxes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

# What covering a pixel costs. Two plates on each other cannot be read at all; a face under a plate is what people look for.
_ON_PLATE = 20
_ON_OTHER_BOX = 4
_ON_OWN_BOX = 2
_LESS_USUAL = 0.02  # share of the plate's area, for each step down the list of places


class Rectangle(NamedTuple):
    """Whole pixels; x2 and y2 lie outside."""

    x1: int
    y1: int
    x2: int
    y2: int

    def shared(self, other: "Rectangle") -> int:
        """Return the area that two rectangles share."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        return width * height if width > 0 and height > 0 else 0


def place(
    size: tuple[int, int],
    box: Rectangle,
    *,
    picture: tuple[int, int],
    plates: Sequence[Rectangle],
    others: Sequence[Rectangle],
) -> Rectangle:
    """Return where a plate covers least.

    Args:
        size: the plate's width and height.
        box: what the plate belongs to.
        picture: width and height; the plate stays inside, and begins inside where it is larger.
        plates: those that have their place.
        others: the other boxes.
    """
    best, least = None, 0.0
    for usual, candidate in enumerate(_candidates(size, box, picture)):
        cost = usual * _LESS_USUAL * size[0] * size[1] + _ON_OWN_BOX * candidate.shared(box)
        cost += sum(_ON_PLATE * candidate.shared(plate) for plate in plates)
        cost += sum(_ON_OTHER_BOX * candidate.shared(other) for other in others)
        if best is None or cost < least:
            best, least = candidate, cost
    assert best is not None
    return best


def _candidates(size: tuple[int, int], box: Rectangle, picture: tuple[int, int]) -> Iterator[Rectangle]:
    """Yield the places for a plate, the most usual first."""
    width, height = size
    left, right = box.x1, box.x2 - width
    corners = [
        (left, box.y1 - height),  # above
        (left, box.y2),  # below
        (right, box.y1 - height),
        (right, box.y2),
        (box.x2, box.y1),  # beside
        (box.x1 - width, box.y1),
        (box.x2, box.y2 - height),
        (box.x1 - width, box.y2 - height),
        (left, box.y1),  # inside
        (left, box.y2 - height),
    ]
    for x, y in corners:
        x = max(0, min(x, picture[0] - width))
        y = max(0, min(y, picture[1] - height))
        yield Rectangle(x, y, x + width, y + height)
