"""VGG-16.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), configuration
D of table 1. Normalising after each convolution came later: Ioffe and Szegedy, "Batch Normalization" (ICML 2015).
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.outputs import AgeDistribution, GenderSoftmax, Outputs, Prediction

OUTPUTS = Outputs(age=AgeDistribution(), gender=GenderSoftmax())

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels; a pooling ends each stage
_POOLED = 7  # pixels of the sides of the last map, whatever the input's: at 224 it has them anyhow


class VGG16(Network):
    """Sixteen layers with weights, two of the dense ones common to both heads.

    Args:
        outputs: what the heads say.
        batch_norm: normalise after each convolution.
        width: units of each dense layer. With the paper's 4096 the first one alone takes 206 MB in float16.
        dropout: share of the units that training hides after each dense layer.
    """

    def __init__(
        self,
        *,
        outputs: Outputs = OUTPUTS,
        batch_norm: bool = True,
        width: Annotated[int, Field(ge=1)] = 4096,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers(batch_norm=batch_norm))
        self.pool = nn.AdaptiveAvgPool2d(_POOLED)
        self.dense = nn.Sequential(
            nn.Linear(_STAGES[-1][-1] * _POOLED**2, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.age = nn.Linear(width, outputs.age.size)
        self.gender = nn.Linear(width, outputs.gender.size)
        self.initialise_convolutions()

    def forward(self, pixels: Tensor) -> Prediction:
        """Return the outputs for each face of (n, 3, height, width), at least 32 pixels each way."""
        features = self.dense(self.pool(self.features(pixels)).flatten(start_dim=1))  # (n, width)
        return Prediction(self.age(features), self.gender(features))


def _layers(*, batch_norm: bool) -> Iterator[nn.Module]:
    before = 3
    for stage in _STAGES:
        for after in stage:
            yield nn.Conv2d(before, after, 3, padding=1, bias=not batch_norm)
            if batch_norm:
                yield nn.BatchNorm2d(after)
            yield nn.ReLU(inplace=True)
            before = after
        yield nn.MaxPool2d(2)
