"""UTKFace: aligned 200 x 200 chips with exact ages (Zhang, Song and Qi, CVPR 2017). For non-commercial research only."""

import re
from collections import Counter
from pathlib import Path

from framehook_trainers.datasets.samples import Sample, read_tars, without_repeats

NAME = "utkface"
LICENCE = "UTKFace: non-commercial research purposes only"

_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_[0-4]_\d+\.jpg\.chip\.jpg")


def read(folder: Path) -> tuple[list[Sample], Counter[str]]:
    """Return the clean pictures, and how many files were `read`, left out and `kept`.

    The labels stand in the names: `[age]_[gender]_[race]_[date&time].jpg.chip.jpg`, gender 0 male and 1 female. A name with a
    missing field is left out, for which field is missing cannot be told.
    """
    counts: Counter[str] = Counter()
    samples = []
    for path, data in read_tars(folder, "utkface-*.tar"):
        counts["read"] += 1
        match = _NAME.fullmatch(path.rpartition("/")[2])
        if match is None:
            counts["malformed name"] += 1
            continue
        age = int(match["age"])
        samples.append(Sample(dataset=NAME, name=path, data=data, age_low=age, age_high=age, female=match["gender"] == "1"))
    kept = without_repeats(samples, counts)
    counts["kept"] = len(kept)
    return kept, counts
