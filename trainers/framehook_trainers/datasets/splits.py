"""Splits by content: what shows the same photograph goes to the same side, in proportions that hold for every age and gender."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from framehook import UsageError
from framehook_trainers.datasets.fairface import BRACKETS
from framehook_trainers.datasets.samples import Sample

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_TRAIN, _VALIDATION, _TEST = range(3)
_STARTS = [low for low, _ in BRACKETS.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much of each stratum is set aside."""

    test: float = 0.10
    """Of the pictures of sets without a split of their own."""
    validation: float = 0.05
    """Of the pictures that no publisher has put into `test`."""

    def __post_init__(self) -> None:
        if not (self.test >= 0 and self.validation >= 0 and self.test + self.validation < 1):
            raise UsageError(f"shares must be 0 or more and leave some for training, got {self.test} and {self.validation}")


def age_class_of(sample: Sample) -> int:
    """Return which of FairFace's nine brackets holds the label's youngest year; -1 where the age is unknown."""
    return -1 if sample.age_low is None else int(np.searchsorted(_STARTS, sample.age_low, side="right")) - 1


def stratum_of(sample: Sample) -> tuple[str, str, int, int]:
    """Return what the shares must hold within: set, publisher's split, age class and gender, -1 where unknown."""
    return sample.dataset, sample.published_split, age_class_of(sample), -1 if sample.female is None else int(sample.female)


def assign(groups: NDArray[np.int64], samples: Sequence[Sample], *, shares: Shares, seed: int) -> list[Split]:
    """Return the split of each picture.

    A set whose publishers split it keeps that: their `test` pictures are for testing, with whatever resembles them, and their
    `train` pictures are never; a validation part, which nobody publishes, is taken from them. All other pictures are divided so
    that each stratum has its shares to half a picture, groups staying together: first the groups of several pictures, the largest
    first, each to the split that lacks most of its share and has room for it (after Sechidis, Tsoumakas and Vlahavas, "On the
    Stratification of Multi-Label Data", ECML 2011), then single pictures, drawn by lot, as many as are still missing.

    Args:
        groups: (n,) as `group_by_content` gives them.
        samples: (n,).
        shares: of each stratum.
        seed: of the lots.
    """
    _, strata = np.unique([f"{stratum_of(sample)}" for sample in samples], return_inverse=True)
    published = np.array([sample.published_split for sample in samples], dtype=np.str_)
    forced = np.isin(groups, groups[published == "test"])
    splits = np.where(forced, _TEST, _TRAIN)
    missing = _targets(strata, published, ~forced, shares)  # (strata, 3)
    targets = np.maximum(missing, 1)

    sizes = np.bincount(groups, minlength=1)
    order = np.random.default_rng(seed).permutation(len(groups))  # of the pictures: the lots
    several = order[~forced[order] & (sizes[groups[order]] > 1)]
    for rows in _largest_first(groups, several):
        counts = np.bincount(strata[rows], minlength=len(missing))
        fits = (missing >= counts[:, None]).all(axis=0, where=counts[:, None] > 0)
        lack = (counts[:, None] * missing / targets).sum(axis=0)
        best = int(np.argmax(np.where(fits, lack, -1))) if fits.any() else _TRAIN
        splits[rows] = best
        missing[:, best] -= counts
    single = order[~forced[order] & (sizes[groups[order]] == 1)]
    for stratum in range(len(missing)):
        rows = single[strata[single] == stratum]
        test, validation = missing[stratum, _TEST], missing[stratum, _VALIDATION]
        splits[rows[:test]] = _TEST
        splits[rows[test : test + validation]] = _VALIDATION
    return [SPLITS[split] for split in splits]


def check_no_leak(keys: Sequence[str] | Sequence[int] | NDArray[np.int64], splits: Sequence[str], *, what: str) -> None:
    """Make sure that nothing of one content lies on two sides.

    Args:
        keys: (n,) what pictures of the same content share.
        splits: (n,).
        what: the key, for the message.

    Raises:
        ValueError: one does.
    """
    seen: dict[str, str] = {}
    for key, split in zip(map(str, keys), splits, strict=True):
        if seen.setdefault(key, split) != split:
            raise ValueError(f"{what} {key} lies in '{seen[key]}' and in '{split}': the splits leak, prepare the faces again")


def _targets(
    strata: NDArray[np.int64], published: NDArray[np.str_], free: NDArray[np.bool_], shares: Shares
) -> NDArray[np.int64]:
    """Return how many pictures each split should get of each stratum, (strata, 3)."""
    counts = np.bincount(strata[free], minlength=int(strata.max(initial=-1)) + 1)
    own = np.zeros(len(counts), bool)
    own[strata[published != ""]] = True
    validation = np.floor(counts * shares.validation + 0.5).astype(np.int64)
    test = np.where(own, 0, np.floor(counts * shares.test + 0.5)).astype(np.int64)
    return np.stack([counts - validation - test, validation, test], axis=1)


def _largest_first(groups: NDArray[np.int64], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows of each group, the largest group first, equal ones in the order in which they first appear."""
    numbers, first, member, sizes = np.unique(groups[rows], return_index=True, return_inverse=True, return_counts=True)
    by_group = np.split(rows[np.argsort(member, kind="stable")], np.cumsum(sizes)[:-1]) if len(numbers) else []
    return [by_group[i] for i in np.lexsort([first, -sizes])]
