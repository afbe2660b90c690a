"""FairFace: loose crops with ages in brackets (Karkkainen and Joo, WACV 2021). CC BY 4.0."""

import csv
from collections import Counter
from pathlib import Path
from typing import Literal

from framehook import SourceNotFoundError
from framehook_trainers.datasets.samples import Sample, read_tars, without_repeats

NAME = "fairface"
LICENCE = "FairFace: CC BY 4.0"

BRACKETS = {
    "0-2": (0, 2),
    "3-9": (3, 9),
    "10-19": (10, 19),
    "20-29": (20, 29),
    "30-39": (30, 39),
    "40-49": (40, 49),
    "50-59": (50, 59),
    "60-69": (60, 69),
    "more than 70": (70, 100),
}
"""Years, both ends included, of each label."""


def read(folder: Path) -> tuple[list[Sample], Counter[str]]:
    """Return the clean pictures of both parts, and how many files were `read`, left out and `kept`."""
    counts: Counter[str] = Counter()
    samples = [*_read_part(folder, "train", counts), *_read_part(folder, "val", counts)]
    kept = without_repeats(samples, counts)
    counts["kept"] = len(kept)
    return kept, counts


def _read_part(folder: Path, part: Literal["train", "val"], counts: Counter[str]) -> list[Sample]:
    labels = _read_labels(folder / f"fairface_label_{part}.csv")
    split: Literal["train", "test"] = "train" if part == "train" else "test"
    samples = []
    for path, data in read_tars(folder, f"fairface_{part}-*.tar"):
        counts["read"] += 1
        label = labels.get(path)
        if label is None or label["age"] not in BRACKETS or label["gender"] not in ("Female", "Male"):
            counts["without a label"] += 1
            continue
        low, high = BRACKETS[label["age"]]
        female = label["gender"] == "Female"
        samples.append(
            Sample(dataset=NAME, name=path, data=data, age_low=low, age_high=high, female=female, published_split=split)
        )
    return samples


def _read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows by the picture's path."""
    if not path.is_file():
        raise SourceNotFoundError(f"no '{path}'; it holds the labels of FairFace's pictures")
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}
