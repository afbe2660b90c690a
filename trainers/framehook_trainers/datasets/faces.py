"""The faces that training reads: memory-mapped shards of crops with a table of labels, in a folder for each split.

`faces.json` says how they were made, with the counts, and `report.html` the same for people. In `train`, `validation` and `test`
lie `labels.csv`, a row for each face, and `faces-00000.npy` and so on, 5,000 faces each.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from framehook import FramehookError, SourceNotFoundError, UsageError
from framehook_trainers.datasets.shards import LABELS, SHARD
from framehook_trainers.datasets.splits import SPLITS, Split, check_no_leak

FACTS = "faces.json"
FORMAT = "framehook-faces-1"


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
    border: Literal["edge", "white"] = "edge"
    """What stands for the pixels beyond the picture: its edge, repeated, or white."""

    def __post_init__(self) -> None:
        context = self.stored_size - self.size
        if not (math.isfinite(self.margin) and math.isfinite(self.shift)):
            raise UsageError(f"a crop's margin and shift must be finite numbers, got {self.margin:g} and {self.shift:g}")
        if self.margin <= -1 or self.size < 1 or context < 0 or context % 2:
            raise UsageError(
                f"a crop needs a margin above -1 and an even number of pixels as context, got {self.margin:g} and {context}"
            )

    @property
    def stored_margin(self) -> float:
        """The margin of the stored crop."""
        return (1 + self.margin) * self.stored_size / self.size - 1

    @property
    def middle(self) -> slice:
        """The rows, and the columns, of a stored crop that inference would cut."""
        edge = (self.stored_size - self.size) // 2
        return slice(edge, edge + self.size)


def usual_context(size: int) -> int:
    """Return how many more pixels to store than a crop has, for augmentation to move in: a seventh, an even number."""
    return 2 * round(size / 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The prepared faces of one split: n crops and their labels."""

    shards: tuple[NDArray[np.uint8], ...]
    """(k, stored_size, stored_size, 3) RGB each: memory-mapped files of 5,000 crops, the last of fewer."""
    geometry: CropGeometry
    """How the crops were cut."""
    datasets: NDArray[np.str_]
    """(n,) the set that each comes from."""
    names: NDArray[np.str_]
    """(n,) path within that set."""
    races: NDArray[np.str_]
    """(n,) the label's race, in the set's own words; empty where it is unknown."""
    ages: NDArray[np.int64]
    """(n, 2) youngest and oldest year that the label allows; -1 and -1 where the age is unknown."""
    female: NDArray[np.int8]
    """(n,) 1 for female, 0 for male, -1 where the gender is unknown."""

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, *, dataset: str) -> NDArray[np.int64]:
        """Return the indices of one set's faces."""
        return np.flatnonzero(self.datasets == dataset)

    def crops(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the stored crops of these faces, (k, stored_size, stored_size, 3)."""
        side = self.geometry.stored_size
        crops = np.empty((len(rows), side, side, 3), np.uint8)
        shard, place = np.divmod(rows, SHARD)
        for i in np.unique(shard).tolist():
            crops[shard == i] = self.shards[i][place[shard == i]]
        return crops

    def centres(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return what inference would cut, (k, size, size, 3): the middle of the stored crops."""
        middle = self.geometry.middle
        return self.crops(rows)[:, middle, middle]


def read_faces(folder: Path, *, split: Split) -> Faces:
    """Open the prepared faces of one split, and check that no content of it lies in another.

    Raises:
        SourceNotFoundError: a file is missing.
        UsageError: the files do not belong together, or the splits leak.
    """
    geometry = CropGeometry(**read_facts(folder)["settings"]["geometry"])
    tables = {name: read_table(folder / name / LABELS) for name in SPLITS}
    _check_no_leak(folder, tables)
    table = tables[split]
    files = sorted((folder / split).glob("faces-*.npy"))
    shards = tuple(_open_shard(path, side=geometry.stored_size) for path in files)
    crops = sum(map(len, shards))
    if crops != len(table) or any(len(shard) != SHARD for shard in shards[:-1]):
        raise UsageError(f"'{folder / split}' has {crops} crops and {len(table)} labels: prepare the faces again")
    with _told_as_damaged(folder / split / LABELS):
        return Faces(
            shards=shards,
            geometry=geometry,
            datasets=np.array([row["dataset"] for row in table], dtype=np.str_),
            names=np.array([row["name"] for row in table], dtype=np.str_),
            races=np.array([row["race"] for row in table], dtype=np.str_),
            ages=np.array([[int(row["age_low"]), int(row["age_high"])] for row in table], np.int64).reshape(-1, 2),
            female=np.array([int(row["female"]) for row in table], np.int8),
        )


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what `faces.json` says: settings, counts and versions.

    Raises:
        SourceNotFoundError: it is missing.
        UsageError: it is of another kind, or damaged.
    """
    path = folder / FACTS
    _check_is_there(path)
    with _told_as_damaged(path):
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts.get("format") != FORMAT:
            raise UsageError(f"'{path}' has the format '{facts.get('format', '')}', want '{FORMAT}': prepare the faces again")
        CropGeometry(**facts["settings"]["geometry"])
        dict(facts["counts"])
    return facts


def digest_of(folder: Path) -> str:
    """Return what tells these prepared faces from others: of their labels and of how they were cut, 16 hexadecimal digits.

    Raises:
        SourceNotFoundError: a file is missing.
        UsageError: the facts are of another kind.
    """
    digest = hashlib.sha256(json.dumps(read_facts(folder)["settings"]["geometry"], sort_keys=True).encode())
    for split in SPLITS:
        _check_is_there(folder / split / LABELS)
        digest.update((folder / split / LABELS).read_bytes())
    return digest.hexdigest()[:16]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a split's `labels.csv`.

    Raises:
        SourceNotFoundError: it is missing.
        UsageError: it is no table.
    """
    _check_is_there(path)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            return list(csv.DictReader(stream))
    except csv.Error as error:
        raise UsageError(f"'{path}' cannot be read as a table: {error}") from error


def _open_shard(path: Path, *, side: int) -> NDArray[np.uint8]:
    with _told_as_damaged(path):
        crops = np.load(path, mmap_mode="r")
        if crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"it holds {crops.shape} {crops.dtype}, wanted (n, {side}, {side}, 3) uint8")
        return np.asarray(crops)


@contextmanager
def _told_as_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except FramehookError:
        raise
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(f"'{path}' is damaged ({type(error).__name__}: {error}): prepare the faces again") from error


def _check_is_there(path: Path) -> None:
    if not path.is_file():
        raise SourceNotFoundError(f"no '{path}'; make it with: framehook prepare FORMAT:LOCATION --out DIR")


def _check_no_leak(folder: Path, tables: dict[Split, list[dict[str, str]]]) -> None:
    splits = [split for split, table in tables.items() for _ in table]
    for key, what in (("group", "content group"), ("digest", "the file with SHA-256")):
        for split, table in tables.items():
            if table and key not in table[0]:
                raise UsageError(f"'{folder / split / LABELS}' has no column '{key}': prepare the faces again")
        try:
            check_no_leak([row[key] for table in tables.values() for row in table], splits, what=what)
        except ValueError as error:
            raise UsageError(f"'{folder}': {error}") from error
