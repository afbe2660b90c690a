"""What MTCNN's three networks run on: torch, OpenVINO or ONNX Runtime. The results are the same but for the last digits."""

from importlib.util import find_spec
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import DeviceError
from framehook_plugins.device import Device, resolve_device

Backend = Literal["auto", "torch", "openvino", "onnxruntime"]
"""`auto` is, on a CPU, the first that is installed of OpenVINO, ONNX Runtime (slower on large pictures) and torch; else torch."""

Floats: TypeAlias = NDArray[np.float32]
Pixels: TypeAlias = NDArray[np.float32]
"""(…, height, width, 4): R, G and B of 0 to 255, and a fourth channel without meaning, for look-ups of 16 bytes are fast."""

# On a CPU, what fits into a core's cache is a third faster: a picture goes through P-Net strip by strip, crops a few at a time.
# And backends prepare themselves for every batch size that they meet, which takes longer than the crops: these are powers of two.
_STRIP_PIXELS = 50_000
_CROP_PIXELS = 16 * 48**2  # 16 crops of O-Net, 64 of R-Net
_CUDA_CROPS = 512


class Network(Protocol):
    """One network on one backend."""

    def __call__(self, pixels: Pixels) -> list[Floats]:
        """Return its outputs for (n, height, width, 4), in the order of facenet-pytorch, each (n, …, channels)."""
        ...


class Networks:
    """The three networks, fed in pieces that suit the hardware.

    Args:
        proposal: P-Net.
        rejection: R-Net.
        refinement: O-Net.
        cached: whether small pieces pay, as they do on a CPU.
    """

    def __init__(self, proposal: Network, rejection: Network, refinement: Network, *, cached: bool) -> None:
        self._proposal = proposal
        self._rejection = rejection
        self._refinement = refinement
        self.cached = cached

    def propose(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Return P-Net's offsets (n, rows, columns, 4) and scores (n, rows, columns) for (n, height, width, 4).

        Its cell in row r sees the 12 rows from 2 r on, so strips that share 10 rows give exactly what the whole picture gives.
        """
        n, height, width, _ = pixels.shape
        rows = (height - 1) // 2 - 4
        step = max(_STRIP_PIXELS // (2 * width * n), 8) if self.cached else rows
        ends = [*range(step, rows - step // 2, step), rows]
        strips = [pixels[:, 2 * start : height if end == rows else 2 * end + 10] for start, end in pairwise([0, *ends])]
        offsets, scores = (np.concatenate(parts, axis=1) for parts in zip(*map(self._proposal, strips), strict=True))
        return offsets, scores[..., 0]

    def reject(self, crops: Pixels) -> tuple[Floats, Floats]:
        """Return R-Net's offsets (n, 4) and scores (n,) for at least one crop, (n, 24, 24, 4)."""
        offsets, probabilities = self._on_crops(self._rejection, crops)
        return offsets, probabilities[:, 1]

    def refine(self, crops: Pixels) -> tuple[Floats, Floats, Floats]:
        """Return O-Net's offsets (n, 4), landmarks (n, 10) and scores (n,) for at least one crop, (n, 48, 48, 4)."""
        offsets, landmarks, probabilities = self._on_crops(self._refinement, crops)
        return offsets, landmarks, probabilities[:, 1]

    def _on_crops(self, network: Network, crops: Pixels) -> list[Floats]:
        at_once = _CROP_PIXELS // crops.shape[1] ** 2 if self.cached else _CUDA_CROPS
        parts = [self._on_few(network, crops[start : start + at_once]) for start in range(0, len(crops), at_once)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _on_few(self, network: Network, crops: Pixels) -> list[Floats]:
        """Return the outputs for some crops, of which there may seem to be more."""
        n = len(crops)
        size = 1 << (n - 1).bit_length()
        if self.cached and size > n:
            crops = np.concatenate([crops, np.zeros((size - n, *crops.shape[1:]), np.float32)])
        return [output[:n] for output in network(crops)]


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


def load_networks(backend: Backend, device: Device) -> Networks:
    """Return the networks on a backend that `check_backend` has let pass."""
    from framehook_plugins.mtcnn import networks

    made = [networks.proposal_network(), networks.rejection_network(), networks.refinement_network()]
    place = resolve_device("cpu" if backend in _NEEDS else device)
    if backend == "auto":
        backend = next(filter(_installed, _NEEDS), "torch") if place.type == "cpu" else "torch"
    if backend == "openvino":
        from framehook_plugins.mtcnn.backends.openvino import OpenVinoNetwork

        return Networks(*map(OpenVinoNetwork, made), cached=True)
    if backend == "onnxruntime":
        from framehook_plugins.mtcnn.backends.onnxruntime import OnnxRuntimeNetwork

        return Networks(*map(OnnxRuntimeNetwork, made), cached=True)
    from framehook_plugins.mtcnn.backends.pytorch import TorchNetwork

    return Networks(*(TorchNetwork(network, place) for network in made), cached=place.type == "cpu")


def _installed(backend: Backend) -> bool:
    return backend not in _NEEDS or all(find_spec(package) is not None for package in _NEEDS[backend].packages)
