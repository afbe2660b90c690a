"""MTCNN's three networks, with the weights that lie in facenet-pytorch's package.

Source: Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks" (IEEE
Signal Processing Letters 23, 2016), figure 2; the numbers of channels are those of the weights. They are laid out here, since
to import facenet-pytorch takes seconds: it brings torchvision, and that brings torch's compiler.

They differ from the originals in two ways. They take pixels of 0 to 255 with a fourth channel, as `AreaPool` gives them: the
first convolution scales, and has zeros for the fourth. And P-Net's softmax of two is the sigmoid of their difference: that comes
with the offsets from one layer, since two layers take a tenth longer.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from framehook import ModelError

Weights: TypeAlias = Mapping[str, Tensor]

_MIDDLE, _SCALE = 127.5, 1 / 128  # the weights want (pixel - 127.5) / 128


class MtcnnNetwork(nn.Module):
    """One of the three.

    Args:
        trunk: the layers that all outputs share, in order.
        heads: the layers of each output: offsets, landmarks where there are some, probabilities.
    """

    def __init__(self, trunk: Sequence[nn.Module], heads: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*trunk)
        self.heads = nn.ModuleList(nn.Sequential(*head) for head in heads)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the outputs for (n, height, width, 4)."""
        features = self.trunk(pixels.permute(0, 3, 1, 2))
        return [head(features) for head in self.heads]


class _ChannelsLast(nn.Module):
    """Put the channels of each picture last."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, rows, columns, channels) for (n, channels, rows, columns)."""
        return features.permute(0, 2, 3, 1)


class _FlattenColumns(nn.Module):
    """Put the features of each picture into a row, column by column, as the weights were made for."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, columns * rows * channels) for (n, channels, rows, columns)."""
        return features.permute(0, 3, 2, 1).flatten(1)


def proposal_network() -> MtcnnNetwork:
    """Return P-Net: of (n, height, width, 4) it makes (n, rows, columns, 5), four offsets and the logit of a face."""
    weights = _weights("pnet")
    trunk = [
        *(_scaling(weights, "conv1"), _layer(weights, "prelu1"), _pool(2)),
        *(_layer(weights, name) for name in ("conv2", "prelu2", "conv3", "prelu3")),
    ]
    both = {}
    for part in ("weight", "bias"):
        offsets, probabilities = weights[f"conv4_2.{part}"], weights[f"conv4_1.{part}"]
        both[part] = torch.cat([offsets, probabilities[1:2] - probabilities[0:1]])
    return MtcnnNetwork(trunk, [[_with(nn.Conv2d(32, 5, 1), **both), _ChannelsLast()]])


def rejection_network() -> MtcnnNetwork:
    """Return R-Net: of (n, 24, 24, 4) it makes offsets (n, 4) and probabilities (n, 2), the second that of a face."""
    weights = _weights("rnet")
    trunk = [
        *(_scaling(weights, "conv1"), _layer(weights, "prelu1"), _pool(3)),
        *(_layer(weights, "conv2"), _layer(weights, "prelu2"), _pool(3)),
        *(_layer(weights, "conv3"), _layer(weights, "prelu3"), _FlattenColumns()),
        *(_layer(weights, "dense4"), _layer(weights, "prelu4")),
    ]
    return MtcnnNetwork(trunk, [[_layer(weights, "dense5_2")], [_layer(weights, "dense5_1"), nn.Softmax(dim=1)]])


def refinement_network() -> MtcnnNetwork:
    """Return O-Net: of (n, 48, 48, 4) it makes offsets (n, 4), landmarks (n, 10) and probabilities (n, 2)."""
    weights = _weights("onet")
    trunk = [
        *(_scaling(weights, "conv1"), _layer(weights, "prelu1"), _pool(3)),
        *(_layer(weights, "conv2"), _layer(weights, "prelu2"), _pool(3)),
        *(_layer(weights, "conv3"), _layer(weights, "prelu3"), _pool(2)),
        *(_layer(weights, "conv4"), _layer(weights, "prelu4"), _FlattenColumns()),
        *(_layer(weights, "dense5"), _layer(weights, "prelu5")),
    ]
    offsets, landmarks, probabilities = (_layer(weights, name) for name in ("dense6_2", "dense6_3", "dense6_1"))
    return MtcnnNetwork(trunk, [[offsets], [landmarks], [probabilities, nn.Softmax(dim=1)]])


def _weights(name: str) -> Weights:
    """Return the weights of one network, from the installed package's folder.

    Raises:
        ModelError: the package or its file is missing or damaged.
    """
    package = find_spec("facenet_pytorch")  # which does not import it
    if package is None or package.origin is None:
        raise ModelError("MTCNN's weights come with facenet-pytorch, which is not installed: pip install facenet-pytorch")
    path = Path(package.origin).parent / "data" / f"{name}.pt"
    try:
        weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the unpickler raise
        raise ModelError(f"'{path}' cannot be read ({type(error).__name__}): install facenet-pytorch anew") from error
    return weights


def _layer(weights: Weights, name: str) -> nn.Module:
    """Return the layer of this name; the shape of its weights says what it is."""
    weight = weights[f"{name}.weight"]
    if weight.ndim == 1:
        return _with(nn.PReLU(len(weight)), weight=weight)
    outputs, inputs = weight.shape[:2]
    layer = nn.Linear(inputs, outputs) if weight.ndim == 2 else nn.Conv2d(inputs, outputs, weight.shape[2])
    return _with(layer, weight=weight, bias=weights[f"{name}.bias"])


def _scaling(weights: Weights, name: str) -> nn.Module:
    """Return the first convolution, for pixels of 0 to 255 with a fourth channel."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    fourth = torch.zeros_like(weight[:, :1])
    return _with(
        nn.Conv2d(4, len(weight), weight.shape[2]),
        weight=torch.cat([weight * _SCALE, fourth], dim=1),
        bias=bias - weight.sum(dim=(1, 2, 3)) * _MIDDLE * _SCALE,
    )


def _pool(side: int) -> nn.Module:
    return nn.MaxPool2d(side, stride=2, ceil_mode=True)


def _with(layer: nn.Module, **tensors: Tensor) -> nn.Module:
    """Return the layer with these weights."""
    layer.load_state_dict(tensors)
    return layer
