"""MTCNN's networks on torch, CPU or CUDA."""

import torch
from torch import Tensor, nn

from framehook_plugins.device import exact_products
from framehook_plugins.mtcnn.faces import Floats
from framehook_plugins.mtcnn.feeding import Pixels
from framehook_plugins.mtcnn.networks import MtcnnNetwork


class TorchNetwork:
    """A network on a device, with faster pooling: torch's own takes longer than all convolutions of P-Net.

    Args:
        network: one of `networks`; it is changed.
        device: where it runs.
    """

    def __init__(self, network: MtcnnNetwork, device: torch.device) -> None:
        for i, layer in enumerate(network.trunk):
            if isinstance(layer, nn.MaxPool2d) and isinstance(layer.kernel_size, int):
                network.trunk[i] = SliceMaxPool(layer.kernel_size)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        self._device = device

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> list[Floats]:
        """Return the outputs for (n, height, width, 4); on the CPU not a byte of the pixels moves."""
        with exact_products(self._device):
            return [output.cpu().numpy() for output in self._network(torch.from_numpy(pixels).to(self._device))]


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
