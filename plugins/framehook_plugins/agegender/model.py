"""The network: a residual network with an age distribution and a gender logit at its end.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), the 18-layer layout of table 1 with
a width of one's choice. Its stem is two strided 3 x 3 convolutions for one of 7 x 7 and a pooling, after He et al., "Bag of
Tricks for Image Classification" (CVPR 2019): they halve the channels at the highest resolution, where normalising takes longer
than convolving. The age is the mean of a distribution over whole years as in Rothe, Timofte and Van Gool, "DEX" (ICCVW 2015).
"""

from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

AGES = 101
"""Whole years 0 to 100."""


class Prediction(NamedTuple):
    """What the network says of n faces."""

    age_logits: Tensor
    """(n, 101) unnormalised log-probabilities of the ages 0 to 100."""
    gender_logits: Tensor
    """(n,) log-odds of `female`."""


class AgeGenderNet(nn.Module):
    """Map (n, 3, height, width) normalised RGB to ages and genders.

    Args:
        width: channels of the first stage; each of the three stages after it has twice as many as the one before.
        dropout: share of the features that training hides from the two heads.
    """

    def __init__(self, *, width: int = 48, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        channels = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_Block(before, after, stride=1 if before == after else 2), _Block(after, after, stride=1))
                for before, after in pairwise(channels)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.age = nn.Linear(channels[-1], AGES)
        self.gender = nn.Linear(channels[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the logits of each face."""
        features = self.dropout(self.stages(self.stem(pixels)).mean(dim=(2, 3)))  # (n, 8 * width)
        return Prediction(self.age(features), self.gender(features)[:, 0])


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them (figure 2 of the paper)."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
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
        return torch.relu(self.body(features) + self.shortcut(features))


def network_input(pixels: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn (n, height, width, 3) uint8 RGB into (n, 3, height, width) normalised floats.

    Args:
        pixels: 0 to 255.
        mean: of each channel, in units of 0 to 1.
        std: of each channel, in units of 0 to 1.
    """
    centre = torch.tensor(mean, device=pixels.device) * 255
    spread = torch.tensor(std, device=pixels.device) * 255
    return ((pixels - centre) / spread).permute(0, 3, 1, 2)  # its memory stays channels last, as the network likes it


def age_moments(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each age distribution, (n,) each, in years.

    Args:
        probabilities: (n, 101), of the ages 0 to 100.
    """
    ages = torch.arange(AGES, dtype=probabilities.dtype, device=probabilities.device)
    mean = probabilities @ ages
    variance = (probabilities * (ages - mean[:, None]) ** 2).sum(dim=1)
    return mean, variance.sqrt()
