"""A network of depthwise-separable convolutions: one trunk, two heads.

Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (CVPR 2017), without the shortcuts. Spatial
dropout hides whole channels, since neighbouring pixels tell much the same: Tompson, Goroshin, Jain, LeCun and Bregler,
"Efficient Object Localization Using Convolutional Networks" (CVPR 2015).
"""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeClasses, GenderSoftmax, Outputs, Prediction

OUTPUTS = Outputs(age=AgeClasses(brackets=((0, 14), (15, 24), (25, 39), (40, 59), (60, 84))), gender=GenderSoftmax())
"""Each is at least a tenth of UTKFace, where those of 60 and more are 72 on average."""


class Separable(Network):
    """Map faces of any size to ages and genders; meant for 198 pixels, 180 for an age that is one value.

    Args:
        outputs: what the heads say.
        width: channels of the first convolution; each of the four stages after it has twice as many as the one before.
        dropout: share of the channels that training hides after each stage.
    """

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        width: Annotated[int, Field(ge=1)] = 32,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        channels = [width * 2**stage for stage in range(5)]
        self.stages = nn.Sequential(*(_stage(before, after, dropout=dropout) for before, after in pairwise(channels)))
        self.age = nn.Linear(channels[-1], outputs.age.size)
        self.gender = nn.Linear(channels[-1], outputs.gender.size)

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 3, height, width)."""
        features = self.stages(self.stem(pixels)).mean(dim=(2, 3))  # (n, 16 * width)
        return Prediction(self.age(features), self.gender(features))


def _stage(before: int, after: int, *, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        *_separable(before, after),
        *_separable(after, after),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout2d(dropout),
    )


def _separable(before: int, after: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),  # each channel by itself
        nn.Conv2d(before, after, 1, bias=False),  # each pixel by itself
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
