"""MTCNN's three networks, with facenet-pytorch's weights.

They differ from the originals in two ways. They take pixels of 0 to 255 with a fourth channel, as `AreaPool` gives them: the
first convolution scales, and has zeros for the fourth. And P-Net's softmax of two is the sigmoid of their difference.
"""

from typing import Any

import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn

_MIDDLE, _SCALE = 127.5, 1 / 128  # the weights want (pixel - 127.5) / 128


def proposal_network() -> Any:
    """Return P-Net: of (n, 4, height, width) it makes offsets (n, 4, rows, columns) and probabilities (n, 1, rows, columns)."""
    network = _prepared(PNet())
    network.conv4_1 = _difference(network.conv4_1)
    network.softmax4_1 = nn.Sigmoid()
    return network


def rejection_network() -> Any:
    """Return R-Net: of (n, 4, 24, 24) it makes offsets (n, 4) and probabilities (n, 2), the second that of a face."""
    return _prepared(RNet())


def refinement_network() -> Any:
    """Return O-Net: of (n, 4, 48, 48) it makes offsets (n, 4), landmarks (n, 10) and probabilities (n, 2)."""
    return _prepared(ONet())


def _prepared(network: Any) -> Any:
    network.conv1 = _scaling(network.conv1)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _scaling(convolution: Any) -> Any:
    """Return the convolution for pixels of 0 to 255 with a fourth channel."""
    scaling: Any = nn.Conv2d(4, convolution.out_channels, convolution.kernel_size)
    scaling.weight.zero_()
    scaling.weight[:, :3] = convolution.weight * _SCALE
    scaling.bias.copy_(convolution.bias - convolution.weight.sum(dim=(1, 2, 3)) * _MIDDLE * _SCALE)
    return scaling


@torch.no_grad()
def _difference(convolution: Any) -> Any:
    """Return the convolution whose one channel is the second of two less the first."""
    difference: Any = nn.Conv2d(convolution.in_channels, 1, convolution.kernel_size)
    difference.weight.copy_(convolution.weight[1:2] - convolution.weight[0:1])
    difference.bias.copy_(convolution.bias[1:2] - convolution.bias[0:1])
    return difference.requires_grad_(False)
