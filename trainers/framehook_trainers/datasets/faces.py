"""The faces that training reads: a memory-mapped array of crops with a table of labels beside it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from framehook import SourceNotFoundError, UsageError
from framehook_plugins.agegender.crop import cut, squares
from framehook_trainers.datasets import splits
from framehook_trainers.datasets.boxes import Chosen, decode
from framehook_trainers.datasets.samples import Sample

CROPS, TABLE, FACTS = "crops.npy", "faces.csv", "faces.json"
COLUMNS = ("dataset", "name", "split", "group", "age_low", "age_high", "female", "found", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True, kw_only=True)
class CropGeometry:
    """What is cut around a face, and how much more is stored; `framehook_plugins.agegender.crop.squares` says how."""

    margin: float = -0.12
    """The crop's side is the box's longer side times (1 + margin)."""
    shift: float = 0.12
    """How far the crop's centre lies below the box's, in units of the box's longer side."""
    size: int = 112
    """Pixels of the crop's sides."""
    stored_size: int = 128
    """Pixels of the stored crop's sides, at the same scale and about the same centre: context for augmentation."""

    @property
    def stored_margin(self) -> float:
        """The margin of the stored crop."""
        return (1 + self.margin) * self.stored_size / self.size - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Prepared faces: n crops and their labels."""

    crops: NDArray[np.uint8]
    """(n, stored_size, stored_size, 3) RGB."""
    geometry: CropGeometry
    """How the crops were cut."""
    datasets: NDArray[np.str_]
    """(n,) the set that each comes from."""
    names: NDArray[np.str_]
    """(n,) path within that set."""
    splits: NDArray[np.str_]
    """(n,) `train`, `validation` or `test`."""
    ages: NDArray[np.int64]
    """(n, 2) youngest and oldest year that the label allows."""
    female: NDArray[np.bool_]
    """(n,)."""

    def rows(self, *, dataset: str, split: str) -> NDArray[np.int64]:
        """Return the indices of one set's faces in one split."""
        return np.flatnonzero((self.datasets == dataset) & (self.splits == split))

    def centres(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return what inference would cut, (k, size, size, 3): the middle of the stored crops."""
        edge = (self.geometry.stored_size - self.geometry.size) // 2
        return self.crops[rows, edge : edge + self.geometry.size, edge : edge + self.geometry.size]


def write_faces(
    folder: Path,
    samples: Sequence[Sample],
    chosen: Chosen,
    *,
    geometry: CropGeometry,
    facts: dict[str, object],
) -> None:
    """Cut, hash, split and write the faces.

    Args:
        folder: made where it is not there.
        samples: the pictures.
        chosen: the face in each.
        geometry: what to cut.
        facts: how the faces were made, for the record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = geometry.stored_size
    crops = open_memmap(folder / CROPS, mode="w+", dtype=np.uint8, shape=(len(samples), side, side, 3))
    hashes = np.empty((len(samples), 256), bool)
    for i, sample in enumerate(samples):
        image = decode(sample.data)
        square = squares(
            chosen.boxes[i : i + 1], chosen.landmarks[i : i + 1], margin=geometry.stored_margin, shift=geometry.shift
        )
        crops[i] = cut(image, square, side)[0]
        hashes[i] = splits.difference_hash(crops[i])
    crops.flush()
    groups = splits.group_by_content(hashes)
    split = splits.assign(groups, hashes, published=[sample.published_split for sample in samples])
    splits.check_no_leak(groups, split)
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for i, sample in enumerate(samples):
            labels = (sample.age_low, sample.age_high, int(sample.female), int(chosen.found[i]))
            box = np.round(chosen.boxes[i].astype(float), 2).tolist()
            writer.writerow((sample.dataset, sample.name, split[i], int(groups[i]), *labels, *box))
    facts = {"margin": geometry.margin, "shift": geometry.shift, "size": geometry.size, "stored_size": side, **facts}
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_faces(folder: Path) -> Faces:
    """Open prepared faces, and check that no content lies on two sides.

    Raises:
        SourceNotFoundError: a file is missing.
        UsageError: the files do not belong together, or the splits leak.
    """
    for name in (CROPS, TABLE, FACTS):
        if not (folder / name).is_file():
            raise SourceNotFoundError(f"no '{folder / name}'; make it with: python -m framehook_trainers.prepare")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    geometry = CropGeometry(**{key: facts[key] for key in ("margin", "shift", "size", "stored_size")})
    with (folder / TABLE).open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    crops = np.load(folder / CROPS, mmap_mode="r")
    if len(crops) != len(table):
        raise UsageError(f"'{folder}' has {len(crops)} crops and {len(table)} labels: prepare the faces again")
    try:
        splits.check_no_leak([int(row["group"]) for row in table], [row["split"] for row in table])
    except ValueError as error:
        raise UsageError(f"'{folder / TABLE}': {error}") from error
    return Faces(
        crops=crops,
        geometry=geometry,
        datasets=np.array([row["dataset"] for row in table]),
        names=np.array([row["name"] for row in table]),
        splits=np.array([row["split"] for row in table]),
        ages=np.array([[int(row["age_low"]), int(row["age_high"])] for row in table]).reshape(-1, 2),
        female=np.array([row["female"] == "1" for row in table]),
    )
