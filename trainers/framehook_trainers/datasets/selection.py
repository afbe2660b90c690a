"""Which pictures of a set are left, and which face of each, once they have been looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook_plugins.agegender.crop import squares
from framehook_trainers.datasets.account import Account
from framehook_trainers.datasets.detection import Chosen, Examined, choose_faces
from framehook_trainers.datasets.faces import CropGeometry
from framehook_trainers.datasets.policies import Rule, judge_pictures
from framehook_trainers.datasets.quality import QualityLimits
from framehook_trainers.datasets.samples import CORRUPT_PICTURE, MISSING_PICTURE, Label, Sample
from framehook_trainers.datasets.shards import Row

WhichFaces: TypeAlias = Literal["best", "one"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Pictures, and the face of each."""

    rows: NDArray[np.int64]
    """(k,) among the candidates."""
    faces: Chosen
    """(k,) each."""

    def where(self, mask: NDArray[np.bool_]) -> "Selection":
        """Return some of them."""
        return Selection(self.rows[mask], self.faces.where(mask))


def select_faces(
    account: Account,
    examined: Sequence[Examined],
    *,
    rules: Sequence[Rule],
    faces: WhichFaces,
    limits: QualityLimits,
    geometry: CropGeometry,
    elsewhere: Mapping[bytes, Sequence[Label]],
) -> Selection:
    """Return what is left of a set's candidates, and count the others in its account.

    Args:
        account: of the set.
        examined: (n,) its candidates.
        rules: of the policies; those on labels have been applied.
        faces: `one` leaves out pictures with no face or several; `best` takes what `choose_faces` does.
        limits: on the crop's side and the detector's score; sharpness is known only of crops.
        geometry: of the crop.
        elsewhere: what other sets say of the files that they have, too, by digest.
    """
    candidates = _Candidates(account, examined)
    for problem in (MISSING_PICTURE, CORRUPT_PICTURE):
        candidates.drop(problem, [one.problem == problem for one in candidates.left()])
    files = [one.file for one in candidates.left()]
    samples = [account.candidates[row] for row in candidates.rows.tolist()]
    candidates.keep(judge_pictures(rules, samples, files, account.drops, elsewhere=elsewhere))
    if faces == "one":
        candidates.drop("no face", [len(one.found.boxes) == 0 for one in candidates.left()])
        candidates.drop("several faces", [len(one.found.boxes) > 1 for one in candidates.left()])

    left = candidates.left()
    sizes = [(one.file.width, one.file.height) for one in left]
    chosen = choose_faces(sizes, [one.found for one in left], anywhere=faces == "one")
    sides = squares(chosen.boxes, chosen.landmarks, margin=geometry.margin, shift=geometry.shift)[:, 2]
    is_left = np.ones(len(sides), bool)
    qualities: tuple[tuple[Literal["size", "score"], NDArray[np.floating]], ...] = (("size", sides), ("score", chosen.scores))
    for what, values in qualities:
        if (verdict := limits.judge(what, values[is_left])) is not None:
            candidates.drop(*verdict)
            is_left[is_left] = ~verdict[1]
    chosen = chosen.where(is_left)
    if not chosen.found.all():
        account.notes.append(f"in {int((~chosen.found).sum())} pictures no face is where the set's are: its median box was taken")
    return Selection(candidates.rows, chosen)


def label_rows(
    kept: Sequence[Sample], faces: Chosen, *, groups: NDArray[np.int64], digests: Sequence[str], sharpnesses: NDArray[np.float64]
) -> list[Row]:
    """Return the table of labels, of all splits.

    Args:
        kept: (n,) pictures.
        faces: (n,) the face of each.
        groups: (n,) of their content.
        digests: (n,) of their files, 16 hexadecimal digits.
        sharpnesses: (n,) of their crops.
    """
    rows = []
    for i, sample in enumerate(kept):
        x1, y1, x2, y2 = np.round(faces.boxes[i].astype(float), 2).tolist()
        rows.append(
            Row(
                dataset=sample.dataset,
                name=sample.name,
                age_low=-1 if sample.age_low is None else sample.age_low,
                age_high=-1 if sample.age_high is None else sample.age_high,
                female=-1 if sample.female is None else int(sample.female),
                race=sample.race,
                group=int(groups[i]),
                digest=digests[i],
                found=int(faces.found[i]),
                score=f"{faces.scores[i]:.4f}" if faces.found[i] else "",
                sharpness=f"{sharpnesses[i]:.1f}",
                x1=x1,
                y1=y1,
                x2=x2,
                y2=y2,
            )
        )
    return rows


class _Candidates:
    """The pictures of a set that are still in."""

    def __init__(self, account: Account, examined: Sequence[Examined]) -> None:
        self.rows = np.arange(len(examined))
        self._account = account
        self._examined = examined

    def left(self) -> list[Examined]:
        return [self._examined[row] for row in self.rows.tolist()]

    def drop(self, rule: str, leaves_out: Sequence[bool] | NDArray[np.bool_]) -> None:
        """Leave out some, and count them."""
        mask = np.asarray(leaves_out, bool)
        self._account.drops.ask(rule)
        for row in self.rows[mask].tolist():
            self._account.drops.add(rule, self._account.candidates[row].name)
        self.keep(~mask)

    def keep(self, mask: Sequence[bool] | NDArray[np.bool_]) -> None:
        self.rows = self.rows[np.asarray(mask, bool)]
