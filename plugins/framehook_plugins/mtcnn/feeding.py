"""MTCNN's three networks as the cascade asks them: in pieces that suit the hardware, whatever they run on."""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook_plugins.backends import Backend, Runtime, choose_backend, in_batches, load_runtime
from framehook_plugins.device import Device, resolve_device

Floats: TypeAlias = NDArray[np.float32]
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
        cached: whether small pieces pay, as they do on a CPU.
    """

    def __init__(self, proposal: Runtime, rejection: Runtime, refinement: Runtime, *, cached: bool) -> None:
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

    def _on_crops(self, network: Runtime, crops: Pixels) -> list[Floats]:
        if self.cached:
            return in_batches(network, crops, most=_CROP_PIXELS // crops.shape[1] ** 2, filled=0.5)
        parts = [network(crops[start : start + _CUDA_CROPS]) for start in range(0, len(crops), _CUDA_CROPS)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def load_networks(backend: Backend, device: Device) -> Networks:
    """Return the networks on a backend that `check_backend` has let pass."""
    from framehook_plugins.mtcnn import networks  # brings torch

    made = [networks.proposal_network(), networks.rejection_network(), networks.refinement_network()]
    chosen = choose_backend(backend, device)
    if chosen == "torch":
        from framehook_plugins.mtcnn.pytorch import TorchNetwork

        place = resolve_device(device)
        return Networks(*(TorchNetwork(network, place) for network in made), cached=place.type == "cpu")
    return Networks(*(load_runtime(chosen, network, sides=("height", "width"), channels=4) for network in made), cached=True)
