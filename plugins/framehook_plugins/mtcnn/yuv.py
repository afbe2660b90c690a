"""The decoder's planes as RGB, converted on the device that they lie on.

Source: ITU-R BT.601 and BT.709. MTCNN's boxes follow the last bits of its pixels, so these are the bits that libswscale makes
on the host: coefficients in 8192ths, every product rounded down, the same colour for each 2 x 2 pixels.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_ONE = 8192
_BLACK, _WHITE, _GREY = 16, 235, 128
_CHROMA = 224  # of 255 steps, where the range is not full


class _Matrix(NamedTuple):
    """What the differences of colour add, in 65536ths, where the range is not full."""

    red_of_v: int
    blue_of_u: int
    green_of_u: int
    green_of_v: int


_MATRICES: Mapping[str, _Matrix] = MappingProxyType(
    {"bt601": _Matrix(104597, 132201, -25675, -53279), "bt709": _Matrix(117504, 138453, -13954, -34903)}
)


def rgb_of(y: Tensor, u: Tensor, v: Tensor, *, matrix: Literal["bt601", "bt709"], full_range: bool) -> Tensor:
    """Return (n, height, width, 3) RGB, 0 to 255 in int32.

    Args:
        y: (n, height, width) uint8.
        u: (n, height / 2, width / 2), rounded up, uint8.
        v: the same.
        matrix: as in `framehook.Planes`.
        full_range: as there.
    """
    height, width = y.shape[1:]
    contrast = 65536 if full_range else 65536 * 255 // (_WHITE - _BLACK)
    colour = [_in_full_range(each) if full_range else each for each in _MATRICES[matrix]]
    red_of_v, blue_of_u, green_of_u, green_of_v = colour
    grey = _times(y, contrast, zero=0 if full_range else _BLACK)
    # Products are made before they are doubled in both directions: a quarter of the work.
    red = grey + _doubled(_times(v, red_of_v, zero=_GREY), height, width)
    green = grey + _doubled(_times(u, green_of_u, zero=_GREY) + _times(v, green_of_v, zero=_GREY), height, width)
    blue = grey + _doubled(_times(u, blue_of_u, zero=_GREY), height, width)
    return torch.stack([red, green, blue], dim=3).clamp_(0, 255)


def _in_full_range(coefficient: int) -> int:
    return int(coefficient * _CHROMA / 255)


def _times(plane: Tensor, coefficient: int, *, zero: int) -> Tensor:
    """Return (plane - zero) * coefficient / 65536, rounded down."""
    factor = (coefficient * _ONE + 32768) >> 16
    return ((plane.int() - zero) * 8 * factor) >> 16


def _doubled(plane: Tensor, height: int, width: int) -> Tensor:
    """Return each value for 2 x 2 pixels, (n, height, width)."""
    n, rows, columns = plane.shape
    return plane[:, :, None, :, None].expand(-1, -1, 2, -1, 2).reshape(n, 2 * rows, 2 * columns)[:, :height, :width]
