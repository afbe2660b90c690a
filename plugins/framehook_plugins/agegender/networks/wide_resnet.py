"""Wide residual networks.

Source: Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016), table 1 with the blocks B(3, 3) of figure 1. The end is
that of the age and gender networks that build on it: a smoothing 8 x 8 average with stride 1, padded so that the map keeps its
sides, and a dense layer over the whole map for each answer. At 64 pixels the map is 16 x 16 x 512, so that the two dense layers
have more weights than all convolutions: 13.5 of 24.46 million. (Without the padding it would be 9 x 9, and 15.23 million.)
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeDistribution, GenderSoftmax, Outputs, Prediction

OUTPUTS = Outputs(age=AgeDistribution(), gender=GenderSoftmax())

_POOLED = 8  # pixels of the sides of what is averaged


class WideResNet(Network):
    """Three groups of wide blocks, the second and third at half the resolution of the one before.

    Args:
        outputs: what the heads say.
        depth: convolutions on the longest way through.
        width: how many times wider the groups are than 16, 32 and 64 channels.
        input_size: pixels of the input's sides; the dense layers take the last map as it is, so no other will do.
        dropout: share of the numbers that training hides between the convolutions of a block.
    """

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        depth: Literal[10, 16, 22, 28, 34, 40] = 16,
        width: Annotated[int, Field(ge=1)] = 8,
        input_size: Annotated[int, Field(ge=32)] = 64,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        channels = [16, 16 * width, 32 * width, 64 * width]
        blocks = (depth - 4) // 6
        self.stem = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.groups = nn.Sequential(
            *(
                _group(before, after, stride=stride, blocks=blocks, dropout=dropout)
                for (before, after), stride in zip(pairwise(channels), (1, 2, 2), strict=True)
            )
        )
        self.norm = nn.Sequential(nn.BatchNorm2d(channels[-1]), nn.ReLU(inplace=True))
        self.pool = nn.AvgPool2d(_POOLED, stride=1, padding=_POOLED // 2, count_include_pad=False)
        features = channels[-1] * (-(-input_size // 4)) ** 2  # halved twice, rounding up
        self.age = nn.Linear(features, outputs.age.size)
        self.gender = nn.Linear(features, outputs.gender.size)
        self.initialise_convolutions()

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 3, input_size, input_size)."""
        pooled = self.pool(self.norm(self.groups(self.stem(pixels))))
        # An even square has no middle pixel: padded alike on both sides it gives one row and column more than it was given.
        features = pooled[:, :, 1:, 1:].flatten(start_dim=1)  # (n, 131072) at 64 pixels
        return Prediction(self.age(features), self.gender(features))


class _Block(nn.Module):
    """Normalise, then two 3 x 3 convolutions and a shortcut around them (figure 1 (c) and (d) of the paper)."""

    def __init__(self, before: int, after: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        self.shortcut = None
        if stride != 1 or before != after:
            self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        normed = self.norm(features)
        around: Tensor = features if self.shortcut is None else self.shortcut(normed)
        through: Tensor = self.body(normed)
        return around + through


def _group(before: int, after: int, *, stride: int, blocks: int, dropout: float) -> nn.Sequential:
    first = _Block(before, after, stride=stride, dropout=dropout)
    return nn.Sequential(first, *(_Block(after, after, stride=1, dropout=dropout) for _ in range(blocks - 1)))
