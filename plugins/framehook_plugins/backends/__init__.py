"""What networks run on: torch, OpenVINO or ONNX Runtime.

The answers are the same but for the last digits, and where OpenVINO computes in bfloat16: it finds known faces again and
classifies in it, where the processor can.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from framehook import DeviceError, ModelError
from framehook_plugins.device import Device, resolve_device

if TYPE_CHECKING:
    import torch
    from torch import nn

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
"""`auto` is, on a CPU, the first that is installed of OpenVINO, ONNX Runtime and torch; else torch."""


Precision = Literal["auto", "float32", "bfloat16"]
"""`auto` is bfloat16 where the device computes in it, else float32; ONNX Runtime has only float32."""


class NoGraphError(ModelError):
    """A network does something that `onnx_graph` has no word for."""


class Runtime(Protocol):
    """A network on one backend."""

    def __call__(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the network's outputs, in its order, for one batch."""
        ...


class _Needs(NamedTuple):
    """What a backend's extra installs."""

    packages: tuple[str, ...]
    extra: str


_NEEDS: dict[Backend, _Needs] = {  # the fastest first
    "openvino": _Needs(("openvino", "onnx"), "framehook[openvino]"),
    "onnxruntime": _Needs(("onnxruntime", "onnx"), "framehook[onnxruntime]"),
}


def check_backend(backend: Backend, device: Device) -> None:
    """Say now what else would be said when the first frame has been decoded.

    Raises:
        DeviceError: a backend that is not installed, or that does not run on this device.
    """
    if not _installed(backend):
        raise DeviceError(
            f"backend '{backend}' is not installed: pip install '{_NEEDS[backend].extra}', or use backend 'torch' or 'auto'"
        )
    if backend in _NEEDS and device == "cuda":
        raise DeviceError(
            f"backend '{backend}' runs on the CPU, got device 'cuda': use device 'cpu', or backend 'torch' or 'auto'"
        )


def choose_backend(backend: Backend, device: Device) -> "tuple[Backend, torch.device]":
    """Return what two `auto` stand for, or what was asked for: OpenVINO and ONNX Runtime have the CPU, also beside a GPU."""
    place = resolve_device("cpu" if backend in _NEEDS else device)
    if backend != "auto":
        return backend, place
    return (next(filter(_installed, _NEEDS), "torch") if place.type == "cpu" else "torch"), place


def load_runtime(
    backend: Backend, network: "nn.Module", *, sides: tuple[int | str, int | str], channels: int, bfloat16: bool = False
) -> Runtime:
    """Return a network on OpenVINO or ONNX Runtime, whichever `choose_backend` returned.

    Args:
        backend: one of the two.
        network: in evaluation mode; it takes pixels, (n, height, width, channels).
        sides: height and width; a name where it varies.
        channels: of the pixels: 3 are bytes, 4 are floats.
        bfloat16: compute in it; ONNX Runtime has only float32, and takes that.

    Raises:
        NoGraphError: no graph can be made of the network.
    """
    from framehook_plugins.backends.onnx_graph import onnx_graph

    graph = onnx_graph(network, sides=sides, channels=channels)
    if backend == "openvino":
        from framehook_plugins.backends.openvino import OpenVinoRuntime

        return OpenVinoRuntime(graph, bfloat16=bfloat16)
    from framehook_plugins.backends.onnxruntime import OnnxRuntime

    return OnnxRuntime(graph)


def in_batches(runtime: Runtime, pixels: NDArray[Any], *, most: int, filled: float) -> list[NDArray[Any]]:
    """Return a network's outputs for n pictures, at least 1.

    Backends prepare themselves for every size of a batch that they meet, which takes longer than the batch: so the sizes are
    powers of two, and blank pictures fill them up.

    Args:
        runtime: the network.
        pixels: (n, height, width, channels).
        most: pictures of a batch; a power of two.
        filled: share of a batch that pictures must fill, 0.5 or more; else a smaller one goes before. The more a picture costs
            beside a call, the more this should be.
    """
    parts, start = [], 0
    while start < len(pixels):
        left = min(len(pixels) - start, most)
        size = 1 << (left - 1).bit_length()
        size = size if left >= filled * size else size // 2
        batch = pixels[start : start + size]
        n = len(batch)
        blank = np.zeros((size - n, *batch.shape[1:]), batch.dtype)
        outputs = runtime(np.concatenate([batch, blank]) if len(blank) else batch)
        parts.append([output[:n] for output in outputs])
        start += n
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _installed(backend: Backend) -> bool:
    return backend not in _NEEDS or all(find_spec(package) is not None for package in _NEEDS[backend].packages)
