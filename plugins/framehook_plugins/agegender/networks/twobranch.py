"""A small grey network with a branch for each answer: three valid convolutions that both share, then a dense layer of its own."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeValue, GenderLogit, Outputs, Prediction

OUTPUTS = Outputs(age=AgeValue(offset=33.0, scale=20.0, std=20.0), gender=GenderLogit())
"""About the mean and the standard deviation of UTKFace's ages: what an untrained network can answer, and by how much it errs."""

_UNITS = 128  # of each branch's dense layer


class TwoBranch(Network):
    """Map grey faces to ages and genders; with one output a head and 64 pixels it has 6,515,714 parameters.

    Args:
        outputs: what the heads say.
        input_size: pixels of the input's sides; the dense layers take the last map as it is, so no other will do.
        dropout: share of the last map that training hides.
        branch_dropout: share of each branch's units that training hides.
    """

    colour = "grey"

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        input_size: Annotated[int, Field(ge=32)] = 64,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25,
        branch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        side = ((input_size - 4) // 2 - 2) // 2  # each valid convolution takes two pixels: 64, 62, 60, 30, 28, 14
        self.age = _branch(128 * side**2, outputs.age.size, dropout=branch_dropout)
        self.gender = _branch(128 * side**2, outputs.gender.size, dropout=branch_dropout)

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 1, input_size, input_size)."""
        features = self.features(pixels)  # (n, 25088) at 64 pixels
        return Prediction(self.age(features), self.gender(features))


def _branch(inputs: int, outputs: int, *, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, _UNITS), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(_UNITS, outputs))
