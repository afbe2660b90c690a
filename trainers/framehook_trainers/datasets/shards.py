"""How the faces of a split are written: a table of labels, and the crops in files of 5,000 that can be memory-mapped."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = "labels.csv"
SHARD = 5000
"""Faces in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of `labels.csv`."""

    dataset: str
    """The set."""
    name: str
    """Path within it."""
    age_low: int
    """Years; -1 where it is unknown."""
    age_high: int
    """Years; -1 where it is unknown."""
    female: int
    """1, 0, or -1 where it is unknown."""
    race: str
    """In the set's own words."""
    group: int
    """Pictures of the same content share it, over all splits."""
    digest: str
    """SHA-256 of the file, the first 16 hexadecimal digits."""
    found: int
    """1 where the detector found the face, 0 where the set's median box was taken."""
    score: str
    """Of the detector; empty where it found none."""
    sharpness: str
    """As `datasets.quality` measures it."""
    x1: float
    """Of the box in the picture, pixels."""
    y1: float
    """Pixels."""
    x2: float
    """Pixels."""
    y2: float
    """Pixels."""


class SplitWriter:
    """Writes the folder of one split, crop by crop.

    Plain writes, not a memory map: where the disk is full, they say so.

    Args:
        folder: made; it must not be there.
        rows: the labels of all its faces.
        side: pixels of a stored crop's sides.
    """

    def __init__(self, folder: Path, rows: Sequence[Row], *, side: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._count = len(rows)
        self._side = side
        self._done = 0
        with (folder / LABELS).open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            writer = csv.DictWriter(stream, list(Row.__dataclass_fields__), lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, rows))

    def append(self, crops: NDArray[np.uint8]) -> None:
        """Add the next crops, (k, side, side, 3), in the order of the rows."""
        for start, stop in _cut_at_shards(self._done, self._done + len(crops)):
            shard, place = divmod(start, SHARD)
            with (self._folder / f"faces-{shard:05}.npy").open("wb" if place == 0 else "ab") as file:
                if place == 0:
                    length = min(SHARD, self._count - start)
                    header = {"descr": "|u1", "fortran_order": False, "shape": (length, self._side, self._side, 3)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(crops[start - self._done : stop - self._done]).data)
        self._done += len(crops)


def _cut_at_shards(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces of a range of faces that lie in one shard each."""
    while start < stop:
        end = min(stop, (start // SHARD + 1) * SHARD)
        yield start, end
        start = end
