"""Residual networks of 18, 34 or another number of layers.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), table 1. The stem is two strided
3 x 3 convolutions for one of 7 x 7 and a pooling, after He et al., "Bag of Tricks for Image Classification" (CVPR 2019): they
halve the channels at the highest resolution, where normalising takes longer than convolving. Blurring before each step is from
Zhang, "Making Convolutional Networks Shift-Invariant Again" (ICML 2019), here on the input of the strided convolution.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Annotated, TypeAlias, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs, Prediction

OUTPUTS = Outputs(age=AgeDistribution(), gender=GenderLogit())


Count: TypeAlias = Annotated[int, Field(ge=1, le=64)]
Width: TypeAlias = Annotated[int, Field(ge=2)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class ResNet(Network):
    """Four stages of blocks.

    Fresh blocks that end as wide as they begin pass on what they get: a network with more of them says at first what one
    with fewer says, given its weights.

    Args:
        outputs: what the heads say.
        blocks: how many each stage has.
        width: channels of the first stage; each of the three stages after it has twice as many as the one before.
        dropout: share of the features that training hides from the two heads.
        blur: smooth what a convolution steps over, all but the pixels, so that a face moved a little is seen alike.
    """

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        blocks: tuple[Count, Count, Count, Count] = (2, 2, 2, 2),
        width: Width = 64,
        dropout: Share = 0.0,
        blur: bool = False,
    ) -> None:
        super().__init__()
        layers = (
            ("0", nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)),
            ("1", nn.BatchNorm2d(width // 2)),
            ("2", nn.ReLU(inplace=True)),
            ("smooth", _smoothing(blur)),
            ("3", nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False)),
            ("4", nn.BatchNorm2d(width)),
            ("5", nn.ReLU(inplace=True)),
        )
        self.stem = nn.Sequential(OrderedDict(layers))  # weights have the same names with and without the smoothing
        channels = [width, width, 2 * width, 4 * width, 8 * width]
        stages = zip(pairwise(channels), blocks, strict=True)
        self.stages = nn.Sequential(*(_stage(before, after, blocks=count, blur=blur) for (before, after), count in stages))
        self.dropout = nn.Dropout(dropout)
        self.age = nn.Linear(channels[-1], outputs.age.size)
        self.gender = nn.Linear(channels[-1], outputs.gender.size)
        self.initialise_convolutions()

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 3, height, width)."""
        features = self.dropout(self.stages(self.stem(pixels)).mean(dim=(2, 3)))  # (n, 8 * width)
        return Prediction(self.age(features), self.gender(features))


class ResNet18(ResNet):
    """The 18-layer layout; its other options are those of `ResNet`."""

    def __init__(self, *, outputs: Outputs = OUTPUTS, width: Width = 64, dropout: Share = 0.0) -> None:
        super().__init__(outputs=outputs, blocks=(2, 2, 2, 2), width=width, dropout=dropout)


class ResNet34(ResNet):
    """The 34-layer layout; its other options are those of `ResNet`."""

    def __init__(self, *, outputs: Outputs = OUTPUTS, width: Width = 64, dropout: Share = 0.0) -> None:
        super().__init__(outputs=outputs, blocks=(3, 4, 6, 3), width=width, dropout=dropout)


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them (figure 2 of the paper)."""

    def __init__(self, before: int, after: int, *, stride: int, blur: bool) -> None:
        super().__init__()
        self.smooth = _smoothing(blur and stride > 1)
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        nn.init.zeros_(cast(Tensor, cast(nn.BatchNorm2d, self.body[-1]).weight))  # each block begins as its shortcut
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        smooth = self.smooth(features)
        return torch.relu(self.body(smooth) + self.shortcut(smooth))


def _smoothing(wanted: bool) -> nn.Module:
    """Return a binomial filter of 3 x 3: two averages of 2 x 2, at the edges of what is there."""
    if not wanted:
        return nn.Identity()
    return nn.Sequential(nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False), nn.AvgPool2d(2, stride=1))


def _stage(before: int, after: int, *, blocks: int, blur: bool) -> nn.Sequential:
    first = _Block(before, after, stride=1 if before == after else 2, blur=blur)
    return nn.Sequential(first, *(_Block(after, after, stride=1, blur=blur) for _ in range(blocks - 1)))
