"""MTCNN's three networks as the cascade asks them: in pieces that suit the hardware, whatever they run on."""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook_plugins.backends import Backend, Runtime, choose_backend, in_batches, load_runtime
from framehook_plugins.device import Device, computes_in_bfloat16
from framehook_plugins.loading import loaded_once
from framehook_plugins.mtcnn.faces import Floats

if TYPE_CHECKING:
    from framehook_plugins.mtcnn.networks import MtcnnNetwork

Pixels: TypeAlias = NDArray[np.float32]
"""(…, height, width, 4): R, G and B of 0 to 255, and a fourth channel without meaning, for look-ups of 16 bytes are fast."""

# On a CPU, what fits into a core's cache is a third faster: a picture goes through P-Net strip by strip, crops a few at a time.
_STRIP_PIXELS = 50_000
_CROP_PIXELS = 16 * 48**2  # 16 crops of O-Net, 64 of R-Net
_CUDA_CROPS = 512


class Networks:
    """The three networks, fed in pieces that suit the hardware.

    Args:
        proposal: P-Net.
        rejection: R-Net.
        refinement: O-Net.
        load_rougher: returns R-Net and O-Net that take less time and answer almost alike, for faces that are known; called when
            there are some. None: the same.
        cached: whether small pieces pay, as they do on a CPU.
    """

    def __init__(
        self,
        proposal: Runtime,
        rejection: Runtime,
        refinement: Runtime,
        *,
        load_rougher: Callable[[], tuple[Runtime, Runtime]] | None = None,
        cached: bool,
    ) -> None:
        self._proposal = proposal
        self._rejection = rejection
        self._refinement = refinement
        self._load_rougher = load_rougher
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
        found = np.concatenate([self._proposal(strip)[0] for strip in strips], axis=1)  # (n, rows, columns, 5)
        half = np.float32(0.5)
        return found[..., :4], half + half * np.tanh(half * found[..., 4])  # the sigmoid, without its overflows

    def reject(self, crops: Pixels, *, known: bool) -> tuple[Floats, Floats]:
        """Return R-Net's offsets (n, 4) and scores (n,) for at least one crop, (n, 24, 24, 4), of known faces or new ones."""
        offsets, probabilities = self._on_crops(self._rougher[0] if known else self._rejection, crops)
        return offsets, probabilities[:, 1]

    def refine(self, crops: Pixels, *, known: bool) -> tuple[Floats, Floats, Floats]:
        """Return O-Net's offsets (n, 4), landmarks (n, 10) and scores (n,) for at least one crop, (n, 48, 48, 4), likewise."""
        offsets, landmarks, probabilities = self._on_crops(self._rougher[1] if known else self._refinement, crops)
        return offsets, landmarks, probabilities[:, 1]

    @loaded_once
    def _rougher(self) -> tuple[Runtime, Runtime]:
        return self._load_rougher() if self._load_rougher else (self._rejection, self._refinement)

    def _on_crops(self, network: Runtime, crops: Pixels) -> list[Floats]:
        if self.cached:
            return in_batches(network, crops, most=_CROP_PIXELS // crops.shape[1] ** 2, filled=0.5)
        parts = [network(crops[start : start + _CUDA_CROPS]) for start in range(0, len(crops), _CUDA_CROPS)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def load_networks(backend: Backend, device: Device) -> Networks:
    """Return the networks on a backend that `check_backend` has let pass."""
    from framehook_plugins.mtcnn import networks  # brings torch

    made = [networks.proposal_network(), networks.rejection_network(), networks.refinement_network()]
    chosen, place = choose_backend(backend, device)
    if chosen == "torch":
        from framehook_plugins.mtcnn.pytorch import TorchNetwork

        return Networks(*(TorchNetwork(network, place) for network in made), cached=place.type == "cpu")

    def load(network: "MtcnnNetwork", *, bfloat16: bool = False) -> Runtime:
        return load_runtime(chosen, network, sides=("height", "width"), channels=4, bfloat16=bfloat16)

    def load_rougher() -> tuple[Runtime, Runtime]:
        return load(made[1], bfloat16=True), load(made[2], bfloat16=True)

    rougher = load_rougher if chosen == "openvino" and computes_in_bfloat16(place) else None
    return Networks(*map(load, made), load_rougher=rougher, cached=True)
