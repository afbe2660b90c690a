"""MTCNN's three networks, with facenet-pytorch's weights: the same numbers in far less time on a CPU.

They differ in three ways. They take pixels of 0 to 255 with a fourth channel, as `AreaPool` gives them: the first convolution
scales, and has zeros for the fourth. Pooling is a few maxima of whole slices: torch's own takes longer than all convolutions.
And P-Net's softmax of two is the sigmoid of their difference.
"""

from itertools import pairwise
from typing import Any

import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import Tensor, nn

_STRIP_PIXELS = 50_000
_MIDDLE, _SCALE = 127.5, 1 / 128  # the weights want (pixel - 127.5) / 128


def proposal_network() -> Any:
    """Return P-Net: of (n, 4, height, width) it makes offsets (n, 4, rows, columns) and probabilities (n, 1, rows, columns)."""
    network = _faster(PNet())
    network.conv4_1 = _difference(network.conv4_1)
    network.softmax4_1 = nn.Sigmoid()
    return _InStrips(network)


def rejection_network() -> Any:
    """Return R-Net: of (n, 4, 24, 24) it makes offsets (n, 4) and probabilities (n, 2), the second that of a face."""
    return _faster(RNet())


def refinement_network() -> Any:
    """Return O-Net: of (n, 4, 48, 48) it makes offsets (n, 4), landmarks (n, 10) and probabilities (n, 2)."""
    return _faster(ONet())


class _InStrips(nn.Module):
    """P-Net on one strip of a picture after the other: on a CPU, what fits into a core's cache is a third faster.

    Its cell in row r sees the 12 rows from 2 r on, so strips that share 10 rows give exactly what the whole picture gives.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, pixels: Tensor) -> Any:
        """Return P-Net's outputs for (n, 4, height, width)."""
        n, _, height, width = pixels.shape
        rows = (height - 1) // 2 - 4
        step = rows if pixels.is_cuda else max(_STRIP_PIXELS // (2 * width * n), 8)
        if rows <= step:
            return self._network(pixels)
        ends = [*range(step, rows - step // 2, step), rows]
        strips = [pixels[:, :, 2 * start : height if end == rows else 2 * end + 10] for start, end in pairwise([0, *ends])]
        return tuple(torch.cat(outputs, dim=2) for outputs in zip(*map(self._network, strips), strict=True))


class SliceMaxPool(nn.Module):
    """The largest of each `kernel` x `kernel` window at every second place; windows may reach beyond the far edges.

    Args:
        kernel: 2 or 3.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self._kernel = kernel

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, channels, rows, columns), half as many of both."""
        return self._along(self._along(features, 2), 3)

    def _along(self, features: Tensor, dim: int) -> Tensor:
        length = features.shape[dim]
        places = max(-(-(length - self._kernel) // 2), 0) + 1
        largest = _every_second(features, dim, 0).narrow(dim, 0, places)
        for start in range(1, min(self._kernel, length)):
            others = _every_second(features, dim, start)
            n = min(others.shape[dim], places)
            greater = torch.maximum(largest.narrow(dim, 0, n), others.narrow(dim, 0, n))
            largest = greater if n == places else torch.cat([greater, largest.narrow(dim, n, places - n)], dim)
        return largest


def _every_second(features: Tensor, dim: int, start: int) -> Tensor:
    return features[:, :, start::2] if dim == 2 else features[:, :, :, start::2]


def _faster(network: Any) -> Any:
    """Change what takes most of the time, in place; without gradients."""
    for name in [name for name, module in network.named_children() if isinstance(module, nn.MaxPool2d)]:
        setattr(network, name, SliceMaxPool(getattr(network, name).kernel_size))
    network.conv1 = _scaling(network.conv1)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


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
    return difference
