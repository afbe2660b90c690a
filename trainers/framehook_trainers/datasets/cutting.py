"""Cut the faces out of their pictures, somewhat wider than inference does, and measure what the splits must know of them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framehook import RunError
from framehook_plugins.agegender.crop import cut, squares
from framehook_trainers.datasets.content import HASH_BITS, difference_hash
from framehook_trainers.datasets.detection import Chosen, Reads, decode
from framehook_trainers.datasets.faces import CropGeometry
from framehook_trainers.datasets.parts import Arrays, Parts, Workers
from framehook_trainers.datasets.quality import sharpness
from framehook_trainers.datasets.samples import Sample
from framehook_trainers.datasets.selection import Selection


class Measured(NamedTuple):
    """What is known of n stored crops."""

    hashes: NDArray[np.bool_]
    """(n, 256) of their content."""
    sharpness: NDArray[np.float64]
    """(n,) of what inference would cut."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Faces to cut out of n pictures."""

    reads: Reads
    """(n,) the pictures."""
    faces: Chosen
    """(n,) the face in each."""
    geometry: CropGeometry
    """What to cut around it."""
    names: Sequence[str]
    """(n,) how the pictures are called."""
    digests: Sequence[bytes]
    """(n,) SHA-256 of each, when its face was looked for."""

    def __len__(self) -> int:
        return len(self.reads)


class Crops:
    """The stored crops of selected faces, in the order of their pictures, while they wait for their splits.

    Args:
        samples: all candidates.
        selection: whose faces are cut.
        digests: SHA-256 of all candidates, when their faces were looked for.
        geometry: what is cut.
        folder: where the parts are kept.
        part: candidates whose crops are one part.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        selection: Selection,
        *,
        digests: Sequence[bytes],
        geometry: CropGeometry,
        folder: Path,
        part: int,
    ) -> None:
        self._parts: Parts[Cuts] = Parts(folder, "cut", cut_faces)
        # A part is always of the same candidates, however many of them are left.
        ends = np.searchsorted(selection.rows, np.arange(part, len(samples), part))
        self._places = np.split(np.arange(len(selection.rows)), ends)
        self._tasks = [
            Cuts(
                reads=[samples[row].read for row in selection.rows[places]],
                faces=selection.faces.where(places),
                geometry=geometry,
                names=[samples[row].name for row in selection.rows[places]],
                digests=[digests[row] for row in selection.rows[places]],
            )
            for places in self._places
        ]

    def cut(self, pool: Workers, *, progress: Callable[[int], None]) -> None:
        """Cut the parts that are not there yet."""
        self._parts.compute(self._tasks, pool, progress=progress)

    def measure(self) -> Measured:
        """Return what is known of the crops."""
        parts = [self._parts.read(i, "hashes", "sharpness", length=len(task)) for i, task in enumerate(self._tasks)]
        packed = np.concatenate([part["hashes"] for part in parts])
        return Measured(np.unpackbits(packed, axis=1).astype(bool), np.concatenate([part["sharpness"] for part in parts]))

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Go through the crops: their places, (k,), and their pixels, (k, side, side, 3)."""
        for i, places in enumerate(self._places):
            yield places, self._parts.read(i, "crops", length=len(places))["crops"]


def cut_faces(cuts: Cuts) -> Arrays:
    """Return the stored `crops` (n, side, side, 3), their `hashes` (n, 32) packed, and the `sharpness` (n,) of their middles.

    Raises:
        RunError: a picture is another one than when its face was looked for.
    """
    geometry = cuts.geometry
    side = geometry.stored_size
    where = squares(cuts.faces.boxes, cuts.faces.landmarks, margin=geometry.stored_margin, shift=geometry.shift)
    crops = np.empty((len(cuts), side, side, 3), np.uint8)
    hashes = np.empty((len(cuts), HASH_BITS // 8), np.uint8)
    sharp = np.empty(len(cuts))
    for i, read in enumerate(cuts.reads):
        data = read()
        if hashlib.sha256(data).digest() != cuts.digests[i]:
            raise RunError(f"'{cuts.names[i]}' changed since its face was looked for: begin anew")
        crops[i] = cut(decode(data), where[i : i + 1], side, border=geometry.border)[0]
        hashes[i] = np.packbits(difference_hash(crops[i]))
        sharp[i] = sharpness(crops[i, geometry.middle, geometry.middle])
    return {"crops": crops, "hashes": hashes, "sharpness": sharp}
