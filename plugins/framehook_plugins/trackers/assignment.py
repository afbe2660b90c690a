"""Which of some things goes with which of others, when each may go with one at most."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns that belong together."""


def assign(gain: NDArray[np.floating[Any]], allowed: NDArray[np.bool_]) -> Pairs:
    """Pair rows with columns so that the sum of the gains is largest.

    Args:
        gain: (rows, columns), 0 or more where a pair is allowed.
        allowed: (rows, columns) which pairs may be.
    """
    rows, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    if not len(rows):
        return rows, columns
    wanted = np.where(allowed, gain, -1)
    # Where no two rows, or no two columns, are best off with the same partner, nothing is better than what each of them wants.
    if len(np.unique(partners := wanted[rows].argmax(axis=1))) == len(rows):
        return rows, partners
    if len(np.unique(partners := wanted[:, columns].argmax(axis=0))) == len(columns):
        return partners, columns
    from scipy.optimize import linear_sum_assignment  # over a second to import, and most recordings do without

    paired, partners = linear_sum_assignment(wanted.clip(0), maximize=True)
    good = allowed[paired, partners]
    return paired[good], partners[good]
