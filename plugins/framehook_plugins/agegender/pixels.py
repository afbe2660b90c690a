"""From the bytes of a crop to the numbers that a network takes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Colour: TypeAlias = Literal["RGB", "grey"]
"""The channels of a network's input, in their order."""

CHANNELS: Mapping[Colour, int] = MappingProxyType({"RGB": 3, "grey": 1})
"""How many channels a network's input has."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and Pillow turn colours grey


class Normalisation(nn.Module):
    """Turn (n, height, width, 3) RGB of 0 to 255 into (n, channels, height, width) normalised floats.

    What it computes with lies on its device, ready for every batch. The result's memory is channels last, as the pixels' is.

    Args:
        colour: the channels of the result.
        mean: of each channel, in units of 0 to 1.
        std: of each channel, in units of 0 to 1.
    """

    luma: Tensor  # (3, 1, 1)
    scale: Tensor  # (channels, 1, 1)
    shift: Tensor  # (channels, 1, 1)

    def __init__(self, *, colour: Colour, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self._grey = colour == "grey"
        spread = torch.tensor(std).reshape(-1, 1, 1)
        self.register_buffer("luma", torch.tensor(_LUMA).reshape(-1, 1, 1))
        self.register_buffer("scale", 1 / (255 * spread))
        self.register_buffer("shift", -torch.tensor(mean).reshape(-1, 1, 1) / spread)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the network's input."""
        planes = pixels.permute(0, 3, 1, 2).float()  # (n, 3, h, w)
        if self._grey:
            planes = (planes * self.luma).sum(dim=1, keepdim=True)
        return torch.addcmul(self.shift, planes, self.scale)
