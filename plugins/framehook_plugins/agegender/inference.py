"""Run the network on crops, in the precision that suits the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.outputs import Decoded, Decoder
from framehook_plugins.agegender.pixels import Normalisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """What the network says of n crops."""

    age: NDArray[np.float32]
    """(n,) years: the mean of the age distribution."""
    age_std: NDArray[np.float32]
    """(n,) years: its standard deviation."""
    female: NDArray[np.float32]
    """(n,) probability of female."""


class Estimator:
    """A network with its weights on a device.

    Args:
        weights: a file that framehook's trainers made.
        device: where the network runs.
        precision: `auto` is bfloat16 where the device computes in it, else float32.
        batch: crops that go through the network at once.

    Raises:
        ModelError: the file is damaged, or lacks a field or a tensor.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: torch.device,
        precision: Literal["auto", "float32", "bfloat16"],
        batch: int,
    ) -> None:
        network, header = checkpoint.read(weights)
        half = precision == "bfloat16" or (precision == "auto" and computes_in_bfloat16(device))
        self.header = header
        self._dtype = torch.bfloat16 if half else torch.float32
        self._network = _ready(network, dtype=self._dtype).to(device)
        self._normalise = Normalisation(colour=header.colour, mean=header.mean, std=header.std).to(device)
        self._decode = Decoder(header.outputs).to(device)
        self._device = device
        self._batch = batch

    def estimate(self, crops: NDArray[np.uint8], *, mirrored: NDArray[np.bool_]) -> Estimates:
        """Return the estimates for some crops.

        Args:
            crops: (n, input_size, input_size, 3) RGB, n at least 1.
            mirrored: (n,) which of them are averaged with their mirror image.
        """
        starts = range(0, len(crops), self._batch)
        parts = [self._estimate_batch(crops[i : i + self._batch], mirrored[i : i + self._batch]) for i in starts]
        return Estimates(
            age=np.concatenate([part.age for part in parts]),
            age_std=np.concatenate([part.age_std for part in parts]),
            female=np.concatenate([part.female for part in parts]),
        )

    @torch.inference_mode()
    def _estimate_batch(self, crops: NDArray[np.uint8], mirrored: NDArray[np.bool_]) -> Estimates:
        pixels, rows = torch.from_numpy(crops).to(self._device), torch.from_numpy(mirrored).to(self._device)
        n = len(pixels)
        pixels = torch.cat([pixels, pixels[rows].flip(2)])
        decoded = self._decode(self._network(self._normalise(pixels).to(self._dtype)))
        own = Decoded(*(each[:n] for each in decoded))
        both = both_views(Decoded(*(torch.cat([each[:n][rows], each[n:]]) for each in decoded)))
        for each, mean in zip(own, both, strict=True):
            each[rows] = mean
        age, age_std, female = (each.cpu().numpy() for each in own)
        return Estimates(age=age, age_std=age_std, female=female)


def both_views(decoded: Decoded) -> Decoded:
    """Return what two views of each face say together: the mixture of their two distributions.

    Its variance is the mean of the variances and the variance of the means.

    Args:
        decoded: of 2 n views, the second of each face n after the first.
    """
    age, age_std, female = (each.reshape(2, -1) for each in decoded)  # (2, n) each
    mean = age.mean(dim=0)
    variance = (age_std**2 + (age - mean) ** 2).mean(dim=0)
    return Decoded(mean, variance.sqrt(), female.mean(dim=0))


def fuse_batch_norms(network: nn.Module) -> None:
    """Put each normalisation that follows a convolution into its weights, in place: the same answers in fewer passes.

    Args:
        network: in evaluation mode; sequences of modules are looked through.
    """
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for i in range(len(sequence) - 1):
            convolution, norm = sequence[i], sequence[i + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[i], sequence[i + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()


def computes_in_bfloat16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 natively; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.4 cannot tell yet
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _ready(network: nn.Module, *, dtype: torch.dtype) -> nn.Module:
    """Return the network as it runs fastest; in bfloat16 for good, since `autocast` would round its weights in every batch."""
    fuse_batch_norms(network)
    network.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks memory_format alone
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()  # the variances need the range, and it takes bfloat16 all the same
    return network
