"""How good the answers about labelled faces are, with the uncertainty that so many images leave, and for whom they are worse."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framehook import UsageError
from framehook_trainers.bootstrap import Floats, auc_of, estimate, mean_of
from framehook_trainers.calibration import ece_of
from framehook_trainers.datasets.fairface import BRACKETS

GENDERS = ("male", "female")
"""The words for the labels 0 and 1."""
FEWEST = 30
"""Images that a group needs for its numbers to be compared with another's."""

# What groups are compared by: whether more is better, and which count says how many images the number rests on.
_COMPARED = {
    "gender.accuracy": (True, "gender.images"),
    "gender.auc": (True, "gender.images"),
    "age.mae": (False, "age.exact"),
    "age.within_5": (True, "age.exact"),
    "age.bracket_accuracy": (True, "age.bracketed"),
}
# Shares of images answered right, which one may compare with each other; years and areas one may not.
_SHARES = ("gender.accuracy", "age.within_5", "age.bracket_accuracy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a network says of n faces.

    Raises:
        ValueError: arrays of different lengths, or a number that is not finite.
    """

    age: NDArray[np.floating]
    """(n,) years."""
    age_std: NDArray[np.floating]
    """(n,) years: the standard deviation that the network gives its age."""
    female: NDArray[np.floating]
    """(n,) probability of female."""

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values.shape != (len(self.age),):
                raise ValueError(f"{field.name} must be ({len(self.age)},) like the ages, got {values.shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{field.name} of image {np.flatnonzero(~np.isfinite(values))[0]} is no finite number")

    def __len__(self) -> int:
        return len(self.age)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Answers":
        """Return the answers of some images."""
        return Answers(age=self.age[rows], age_std=self.age_std[rows], female=self.female[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """What is known of n faces.

    Raises:
        ValueError: an array of the wrong shape.
    """

    ages: NDArray[np.int64]
    """(n, 2) youngest and oldest year that the label allows, equal where it is exact; -1 -1 where unknown."""
    female: NDArray[np.int8]
    """(n,) 1, 0, or -1 where unknown."""
    races: NDArray[np.str_]
    """(n,) the set's own word; empty where unknown."""

    def __post_init__(self) -> None:
        n = len(self.ages)
        for name, want in (("ages", (n, 2)), ("female", (n,)), ("races", (n,))):
            if getattr(self, name).shape != want:
                raise ValueError(f"{name} must be {want}, got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.ages)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Labels":
        """Return the labels of some images."""
        return Labels(ages=self.ages[rows], female=self.female[rows], races=self.races[rows])

    @property
    def exact(self) -> NDArray[np.bool_]:
        """(n,) whether the age is known to the year."""
        return np.asarray((self.ages[:, 0] >= 0) & (self.ages[:, 0] == self.ages[:, 1]))

    @property
    def brackets(self) -> NDArray[np.int64]:
        """(n,) index of the bracket of `BRACKETS` that holds all that the label allows; -1 where none does."""
        low, high = bracket_of(self.ages[:, 0]), bracket_of(self.ages[:, 1])
        return np.where((self.ages[:, 0] >= 0) & (low == high), low, -1)


def bracket_of(age: NDArray[np.floating] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of FairFace's bracket that each age, rounded to whole years, falls into; below 0 counts as 0."""
    starts = [low for low, _ in BRACKETS.values()]
    return np.searchsorted(starts, np.round(age), side="right").clip(1) - 1


def measure(answers: Answers, labels: Labels) -> dict[str, Any]:
    """Return every metric, in values that JSON can carry, of all images and of each group.

    A metric is a plain number; its 95 % bootstrap interval stands beside it as `NAME_95`; both are None where no label allows it.

    - `gender`: `accuracy`, `auc`.
    - `age`, of exact labels, in years: `mae`, `bias` (positive: taken for older), `within_5` (the share with at most 5 years of
      error); of these and of labels within one of FairFace's nine brackets: `bracket_accuracy`, `bracket_within_one`.
    - `calibration`: `ece`, the expected calibration error of the gender probability in 15 bins of equal width on the confidence
      (Guo et al., 2017), and `age_coverage`, the share of exact ages within age ± age_std (0.683 if errors are Gaussian).
    - `images` counts all, `gender.images` those whose gender is known, `age.exact` and `age.bracketed` those that the metrics of
      age rest on; `unknown` counts those without the label.
    - `groups`: the same by `age` (bracket), `gender` and `race`. `unlabelled` counts the images in no group of these. `gaps`
      holds the largest difference by each metric and dimension, `largest_gap` the largest of those between shares of images.

    Raises:
        UsageError: there is no image.
        ValueError: answers and labels are not of the same images.
    """
    if len(answers) != len(labels):
        raise ValueError(f"{len(answers)} answers do not fit {len(labels)} labels")
    if not len(answers):
        raise UsageError("there is no image to measure by: give a folder, split or limit that holds at least one")
    members = _groups(labels)
    groups = {
        dimension: {name: _measure(answers.take(rows), labels.take(rows)) for name, rows in of.items()}
        for dimension, of in members.items()
    }
    gaps = list(_gaps(groups))
    shares = [gap for gap in gaps if gap["metric"] in _SHARES]
    return {
        **_measure(answers, labels),
        "groups": {
            **groups,
            "unlabelled": {name: len(labels) - sum(int(rows.sum()) for rows in of.values()) for name, of in members.items()},
            "gaps": gaps,
            "largest_gap": max(shares, key=lambda gap: float(gap["difference"]), default=None),
        },
    }


def _measure(answers: Answers, labels: Labels) -> dict[str, Any]:
    """Return the metrics of n images, n at least 1, without groups."""
    exact, brackets, gendered = labels.exact, labels.brackets, labels.female >= 0
    error = answers.age - labels.ages[:, 0]
    steps = np.abs(bracket_of(answers.age) - brackets)
    means = {
        "gender.accuracy": ((answers.female >= 0.5) == (labels.female == 1), gendered),
        "age.mae": (np.abs(error), exact),
        "age.bias": (error, exact),
        "age.within_5": (np.abs(error) <= 5, exact),
        "age.bracket_accuracy": (steps == 0, brackets >= 0),
        "age.bracket_within_one": (steps <= 1, brackets >= 0),
        "calibration.age_coverage": (np.abs(error) <= answers.age_std, exact),
    }
    values, known = (np.stack(columns, axis=1) for columns in zip(*means.values(), strict=True))  # (n, 7) each
    mean = mean_of(values.astype(np.float64), known.astype(bool))
    auc = auc_of(np.where(gendered, answers.female, np.nan), labels.female == 1)
    ece = ece_of(answers.female, labels.female)

    def statistics(weights: Floats) -> Floats:
        return np.concatenate([mean(weights), auc(weights), ece(weights)], axis=1)  # one draw for all: paired

    result: dict[str, Any] = {
        "images": len(answers),
        "gender": {"images": int(gendered.sum()), "unknown": int((~gendered).sum())},
        "age": {
            "exact": int(exact.sum()),
            "bracketed": int((brackets >= 0).sum()),
            "unknown": int((labels.ages[:, 0] < 0).sum()),
        },
        "calibration": {},
    }
    names = (*means, "gender.auc", "calibration.ece")
    for name, *numbers in zip(names, *estimate(statistics, images=len(answers)), strict=True):
        part, _, metric = name.partition(".")
        value, low, high = (round(float(number), 6) for number in numbers)
        known_at_all = np.isfinite(value)
        result[part] |= {metric: value if known_at_all else None, f"{metric}_95": [low, high] if known_at_all else None}
    return result


def _groups(labels: Labels) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return by dimension and group which images belong to it, (n,); a group without images is left out."""
    brackets = labels.brackets
    groups = {
        "age": {name: brackets == place for place, name in enumerate(BRACKETS)},
        "gender": {name: labels.female == code for code, name in enumerate(GENDERS)},
        "race": {race: labels.races == race for race in np.unique(labels.races).tolist() if race},
    }
    return {dimension: {name: rows for name, rows in of.items() if rows.any()} for dimension, of in groups.items()}


def _gaps(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the largest difference by each metric and dimension, of groups of at least `FEWEST` images with that label."""
    for metric, (more_is_better, counted_by) in _COMPARED.items():
        for dimension, of in groups.items():
            entries = [
                {"group": name, "value": value_at(measured, metric), "images": value_at(measured, counted_by)}
                for name, measured in of.items()
                if value_at(measured, counted_by) >= FEWEST and value_at(measured, metric) is not None
            ]
            if len(entries) < 2:
                continue
            entries.sort(key=lambda entry: float(entry["value"]), reverse=more_is_better)
            best, worst = entries[0], entries[-1]
            difference = round(abs(best["value"] - worst["value"]), 6)
            yield {"metric": metric, "dimension": dimension, "best": best, "worst": worst, "difference": difference}


def value_at(metrics: Mapping[str, Any], name: str) -> Any:
    """Return the number of that dotted name, such as `gender.accuracy`."""
    part, _, rest = name.partition(".")
    return value_at(metrics[part], rest) if rest else metrics[part]
