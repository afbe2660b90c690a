"""Run the network on crops, in the precision that suits the device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.outputs import Decoded, Decoder, Prediction
from framehook_plugins.agegender.pixels import Normalisation
from framehook_plugins.backends import Backend, NoGraphError, Precision, choose_backend, in_batches, load_runtime
from framehook_plugins.device import Device, computes_in_bfloat16

_Predict: TypeAlias = Callable[[Tensor], Prediction]

_MOST_AT_ONCE = 16  # crops whose features a core's cache holds
_FILLED = 0.8  # of a batch: a crop takes ten times as long as a call


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
        backend: what it runs on; `auto` is torch where no graph can be made of the network, too.
        precision: `auto` is bfloat16 where the device computes in it, else float32; ONNX Runtime has only float32.
        batch: views that go through the network at once.

    Raises:
        ModelError: the file is damaged, or lacks a field or a tensor; or the backend asked for cannot run the network.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: Device,
        backend: Backend,
        precision: Precision,
        batch: int,
    ) -> None:
        network, header = checkpoint.read(weights)
        self.header = header
        chosen, self._device = choose_backend(backend, device)
        self._decode = Decoder(header.outputs).to(self._device)
        self._batch = batch
        half = precision == "bfloat16" or (precision == "auto" and computes_in_bfloat16(self._device))
        normalise = Normalisation(colour=header.colour, mean=header.mean, std=header.std)
        fuse_batch_norms(network)
        if chosen == "torch" or (backend == "auto" and chosen == "onnxruntime" and precision == "bfloat16"):
            self._predict: _Predict = _OnTorch(network, normalise, device=self._device, half=half)
            return
        try:
            self._predict = _OnRuntime(chosen, network, normalise, size=header.input_size, half=half)
        except NoGraphError:
            if backend != "auto":
                raise
            self._predict = _OnTorch(network, normalise, device=self._device, half=half)

    @torch.inference_mode()
    def estimate(self, crops: NDArray[np.uint8], *, again: NDArray[np.uint8], twice: NDArray[np.bool_]) -> Estimates:
        """Return the estimates for some faces.

        Args:
            crops: (n, input_size, input_size, 3) RGB, n at least 1.
            again: (k, input_size, input_size, 3) other views of some of them, which count as much as the first ones.
            twice: (n,) of which faces, k of them, in this order.
        """
        n, views = len(crops), np.concatenate([crops, again])
        batches = (views[start : start + self._batch] for start in range(0, len(views), self._batch))
        decoded = [self._decode(self._predict(torch.from_numpy(batch).to(self._device))) for batch in batches]
        columns = [torch.cat(column) for column in zip(*decoded, strict=True)]
        if len(again):
            rows = torch.from_numpy(np.flatnonzero(twice)).to(self._device)
            both = both_views(Decoded(*(torch.cat([column[rows], column[n:]]) for column in columns)))
            for column, mean in zip(columns, both, strict=True):
                column[rows] = mean
        age, age_std, female = torch.stack(columns)[:, :n].cpu().numpy()
        return Estimates(age=age, age_std=age_std, female=female)


class _OnTorch:
    """A network as torch runs it fastest; in bfloat16 for good, since `autocast` would round its weights in every batch."""

    def __init__(self, network: nn.Module, normalise: nn.Module, *, device: torch.device, half: bool) -> None:
        self._dtype = torch.bfloat16 if half else torch.float32
        self._normalise = normalise.to(device)
        self._network = network.to(device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.float()  # the variances need the range, and it takes bfloat16 all the same

    def __call__(self, pixels: Tensor) -> Prediction:
        """Return what the network says of (n, size, size, 3) bytes."""
        prediction: Prediction = self._network(self._normalise(pixels).to(self._dtype))
        return prediction


class _OnRuntime:
    """A network on another backend, which takes less time over small batches: its weights lie ready for the processor."""

    def __init__(self, backend: Backend, network: nn.Module, normalise: nn.Module, *, size: int, half: bool) -> None:
        from_pixels = nn.Sequential(normalise, network.float()).eval()
        self._runtime = load_runtime(backend, from_pixels, sides=(size, size), channels=3, bfloat16=half)

    def __call__(self, pixels: Tensor) -> Prediction:
        """Return what the network says of (n, size, size, 3) bytes."""
        age, gender = in_batches(self._runtime, pixels.numpy(), most=_MOST_AT_ONCE, filled=_FILLED)
        return Prediction(torch.from_numpy(age), torch.from_numpy(gender))


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
                convolution.weight, convolution.bias = fuse_conv_bn_weights(
                    convolution.weight,
                    convolution.bias,
                    norm.get_buffer("running_mean"),
                    norm.get_buffer("running_var"),
                    norm.eps,
                    norm.weight,
                    norm.bias,
                )
                sequence[i + 1] = nn.Identity()
