"""FairFace: loose crops with ages in brackets (Karkkainen and Joo, WACV 2021). CC BY 4.0."""

import re
from typing import Literal

from framehook import SourceNotFoundError
from framehook_trainers.datasets.samples import (
    CONTRADICTING_ROW,
    MALFORMED_ROW,
    MISSING_PICTURE,
    REPEATED_ROW,
    WITHOUT_LABEL,
    Drops,
    Reading,
    Sample,
)
from framehook_trainers.datasets.storage import Picture, find_pictures, join, list_files, parent
from framehook_trainers.datasets.table import GENDERS, read_rows

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
_SHOWN = {"more than 70": "70 and more"}

_TABLE = re.compile(r"fairface_label_\w+\.csv")
_SPLITS: dict[str, Literal["train", "test"]] = {"train": "train", "val": "test"}


def shown(group: str) -> str:
    """Return what people are shown for a label, or for the name of any other group: FairFace calls 70 `more than 70`."""
    return _SHOWN.get(group, group)


def read(location: str) -> Reading:
    """Return the pictures of the training and the validation part, as far as they are there.

    Args:
        location: a folder with `fairface_label_train.csv`, `fairface_label_val.csv` or both, and their pictures as
            `train/….jpg` and `val/….jpg` or in tar shards; or one such csv file, beside its pictures.

    Raises:
        SourceNotFoundError: no labels, or no picture.
        UsageError: a column is missing.
    """
    folder, tables = (parent(location), [location]) if location.endswith(".csv") else (location, _tables(location))
    drops = Drops()
    rows: dict[str, list[dict[str, str]]] = {}
    for table in tables:
        for place, row in read_rows(table, needed=["file", "age", "gender"]):
            rows.setdefault(row["file"], []).append({**row, "place": place})
    samples = []
    for picture in find_pictures(folder, of=NAME):
        labelled = rows.pop(picture.name, [])
        whole = [labels for labels in labelled if _is_whole(labels, drops)]
        samples += [_sample(picture, labels) for labels in _without_repeats(whole, drops)]
        if not labelled and folder == location and not picture.name.endswith(".csv"):
            drops.add(WITHOUT_LABEL, picture.name)
    for path, labelled in rows.items():
        for labels in labelled:
            drops.add(MISSING_PICTURE, f"{labels['place']}: {path}")
    return Reading(samples, drops)


def _tables(folder: str) -> list[str]:
    found = [name for name in list_files(folder) if _TABLE.fullmatch(name)]
    if not found:
        raise SourceNotFoundError(f"no 'fairface_label_train.csv' or 'fairface_label_val.csv' in '{folder}': the labels")
    return [join(folder, name) for name in found]


def _is_whole(labels: dict[str, str], drops: Drops) -> bool:
    for column, allowed in (("age", BRACKETS), ("gender", GENDERS)):
        if labels[column].lower() not in allowed:
            drops.add(MALFORMED_ROW, f"{labels['place']}: {column} '{labels[column]}' is none of {', '.join(allowed)}")
            return False
    return True


def _without_repeats(rows: list[dict[str, str]], drops: Drops) -> list[dict[str, str]]:
    """Return the one row of a file that counts: the first, or none where they differ, for which is right cannot be told."""
    agree = len({(row["age"].lower(), GENDERS[row["gender"].lower()]) for row in rows}) <= 1
    kept = rows[:1] if agree else []
    for row in rows[len(kept) :]:
        drops.add(REPEATED_ROW if agree else CONTRADICTING_ROW, f"{row['place']}: {row['file']}")
    return kept


def _sample(picture: Picture, labels: dict[str, str]) -> Sample:
    low, high = BRACKETS[labels["age"].lower()]
    return Sample(
        dataset=NAME,
        name=picture.name,
        read=picture.read,
        age_low=low,
        age_high=high,
        female=GENDERS[labels["gender"].lower()],
        race=labels.get("race", ""),
        published_split=_SPLITS.get(picture.name.partition("/")[0], ""),
    )
