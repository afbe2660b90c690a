"""The layout of dlib's face recognition network, with heads for age and gender.

Source: `dnn_face_recognition_ex.cpp` of dlib (Davis King, 2017): a residual network of 29 convolutions after He, Zhang, Ren and
Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), whose shortcuts have no weights. Its norms, which at the end of
dlib's training only scale and shift each channel, are part of the convolutions here.
"""

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs, Prediction

OUTPUTS = Outputs(age=AgeDistribution(), gender=GenderLogit())

_STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # channels and blocks; all but the first begin with a step


class RecognitionResNet(Network):
    """Map faces to ages and genders.

    Fresh blocks pass on what they get.

    Args:
        outputs: what the heads say.
        input_size: pixels of the input's sides, which decide where a block has to fill up its maps.
        dropout: share of the features that training hides from the two heads.
    """

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        input_size: Annotated[int, Field(ge=103)] = 150,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        before, side = _STAGES[0][0], ((input_size - 5) // 2 - 1) // 2  # 150 pixels, 72, 35
        self.stem = nn.Sequential(nn.Conv2d(3, before, 7, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2))
        self.blocks = nn.Sequential()
        for stage, (channels, count) in enumerate(_STAGES):
            for i in range(count):
                step = stage > 0 and i == 0
                self.blocks.append(_Block(before, channels, side=side, step=step))
                before, side = channels, side // 2 if step else side
        # Dlib's features vary by a sixth of their mean: heads learn slowly from such.
        self.norm = nn.BatchNorm1d(before, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.age = nn.Linear(before, outputs.age.size)
        self.gender = nn.Linear(before, outputs.gender.size)
        self.initialise_convolutions()
        for block in self.blocks:
            nn.init.zeros_(cast(_Block, block).second.weight)

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 3, input_size, input_size)."""
        features = self.blocks(self.stem(pixels)).mean(dim=(2, 3))  # (n, 256)
        features = self.dropout(self.norm(features))
        return Prediction(self.age(features), self.gender(features))


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut around them; what one of the two lacks in size counts as zero in their sum."""

    def __init__(self, before: int, after: int, *, side: int, step: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=2 if step else 1, padding=0 if step else 1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.filled: nn.Module = nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if step:
            # A valid convolution steps over the last pixel of an even side, which averaging does not.
            missing = 1 - side % 2
            self.filled = nn.ZeroPad3d((0, missing, 0, missing, 0, 0))
            self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.ZeroPad3d((0, 0, 0, 0, 0, after - before)))

    def forward(self, features: Tensor) -> Tensor:
        body = self.second(torch.relu(self.first(features)))
        return torch.relu(self.filled(body) + self.shortcut(features))
