"""UTKFace: aligned 200 x 200 chips with exact ages (Zhang, Song and Qi, CVPR 2017). For non-commercial research only."""

import re

from framehook_trainers.datasets.samples import MALFORMED_NAME, Drops, Reading, Sample
from framehook_trainers.datasets.storage import find_pictures

NAME = "utkface"
LICENCE = "UTKFace: non-commercial research purposes only"

RACES = ("White", "Black", "Asian", "Indian", "Others")
"""By the number in the name."""

_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+\.jpg(\.chip\.jpg)?")


def read(location: str) -> Reading:
    """Return the pictures of a folder, of one tar, or of a folder of tar shards.

    The labels stand in the names: `[age]_[gender]_[race]_[date&time].jpg`, with `.chip.jpg` behind it where the face is cut out;
    gender 0 male and 1 female. A name with a missing field is left out, for which field is missing cannot be told.

    Raises:
        SourceNotFoundError: no picture is there.
    """
    samples = []
    drops = Drops()
    for picture in find_pictures(location, of=NAME):
        match = _NAME.fullmatch(picture.name.rpartition("/")[2])
        if match is None:
            drops.add(MALFORMED_NAME, picture.name)
            continue
        age = int(match["age"])
        samples.append(
            Sample(
                dataset=NAME,
                name=picture.name,
                read=picture.read,
                age_low=age,
                age_high=age,
                female=match["gender"] == "1",
                race=RACES[int(match["race"])],
            )
        )
    return Reading(samples, drops)
