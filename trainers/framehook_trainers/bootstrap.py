"""How far a number may lie from the truth, for the images that it was measured on: the bootstrap (Efron, 1979)."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]
"""From weights, (r, n): how often each of n images counts in each of r resamples, to values, (r, k); NaN where undefined."""

_RESAMPLES = 1000
_WEIGHTS_AT_ONCE = 1_000_000  # bounds memory however many images there are


def estimate(statistic: Statistic, *, images: int) -> tuple[Floats, Floats, Floats]:
    """Return the statistic of the images as they are and the ends of its 95 % interval, (k,) each.

    A resample draws as many images as there are, with replacement, and gives all k values: they are paired. The interval is the
    range between the 2.5 % and the 97.5 % quantile of 1000 resamples. One in which a value is undefined is left out for it.

    Args:
        statistic: called with many resamples at once.
        images: n, at least 1.
    """
    value = statistic(np.ones((1, images)))[0]
    resampled = np.concatenate([statistic(weights) for weights in _resamples(images)])  # (1000, k)
    ends = np.full((2, len(value)), np.nan)
    if (defined := np.isfinite(value)).any():
        ends[:, defined] = np.nanquantile(resampled[:, defined], [0.025, 0.975], axis=0)
    return value, ends[0], ends[1]


def _resamples(images: int) -> Iterator[Floats]:
    """Yield the weights of all resamples, some at a time, the same ones every time."""
    random = np.random.default_rng(0)
    at_once = max(_WEIGHTS_AT_ONCE // images, 1)
    for start in range(0, _RESAMPLES, at_once):
        rows = min(at_once, _RESAMPLES - start)
        drawn = random.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def mean_of(values: Floats, known: NDArray[np.bool_]) -> Statistic:
    """Return the statistic that averages each column over the images for which it is known.

    Args:
        values: (n, k); what is unknown may hold anything.
        known: (n, k).
    """
    summed, counted = np.where(known, values, 0.0), known.astype(np.float64)

    def mean(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # nothing known: 0 / 0, which is NaN
            return np.asarray(weights @ summed / (weights @ counted))

    return mean


def auc_of(scores: Floats, positive: NDArray[np.bool_]) -> Statistic:
    """Return the statistic of the area under the receiver operating characteristic, k = 1.

    It is the probability that a positive image scores higher than a negative one, a tie counting half: the rank statistic of
    Mann and Whitney (Hanley and McNeil, 1982).

    Args:
        scores: (n,); NaN for images that do not count.
        positive: (n,).
    """
    order = np.argsort(scores)[: np.isfinite(scores).sum()]  # NaN sorts to the end
    tied = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)  # where each run of equal scores starts
    is_positive = positive[order]

    def auc(weights: Floats) -> Floats:
        if not len(order):
            return np.full((len(weights), 1), np.nan)
        sorted_weights = weights[:, order]
        positives = np.add.reduceat(sorted_weights * is_positive, tied, axis=1)  # (r, distinct scores)
        negatives = np.add.reduceat(sorted_weights * ~is_positive, tied, axis=1)
        below = negatives.cumsum(axis=1) - negatives
        won = (positives * (below + negatives / 2)).sum(axis=1)
        with np.errstate(invalid="ignore"):  # one kind only: 0 / 0, which is NaN
            return np.asarray(won / (positives.sum(axis=1) * negatives.sum(axis=1)))[:, None]

    return auc
