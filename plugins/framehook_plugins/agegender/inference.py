"""Run the network on crops, in the precision that suits the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.model import age_moments, network_input


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
        flip: average over each crop and its mirror image.
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
        flip: bool,
        batch: int,
    ) -> None:
        network, self.header = checkpoint.read(weights)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        self._device = device
        self._half = precision == "bfloat16" or (precision == "auto" and computes_in_bfloat16(device))
        self._flip = flip
        self._batch = batch

    def estimate(self, crops: NDArray[np.uint8]) -> Estimates:
        """Return the estimates for (n, input_size, input_size, 3) RGB, n at least 1."""
        parts = [self._estimate_batch(crops[i : i + self._batch]) for i in range(0, len(crops), self._batch)]
        return Estimates(
            age=np.concatenate([part.age for part in parts]),
            age_std=np.concatenate([part.age_std for part in parts]),
            female=np.concatenate([part.female for part in parts]),
        )

    @torch.inference_mode()
    def _estimate_batch(self, crops: NDArray[np.uint8]) -> Estimates:
        pixels = torch.from_numpy(crops).to(self._device)
        if self._flip:
            pixels = torch.cat([pixels, pixels.flip(2)])
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._half):
            prediction = self._network(network_input(pixels, mean=self.header.mean, std=self.header.std))
        ages = prediction.age_logits.float().softmax(dim=1)  # (n or 2 n, years)
        female = prediction.gender_logits.float().sigmoid()
        if self._flip:
            ages, female = ages.unflatten(0, (2, -1)).mean(dim=0), female.unflatten(0, (2, -1)).mean(dim=0)
        mean, std = age_moments(ages)
        return Estimates(age=mean.cpu().numpy(), age_std=std.cpu().numpy(), female=female.cpu().numpy())


def computes_in_bfloat16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 natively; elsewhere it is emulated, and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.4 cannot tell yet
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
