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
    every = np.where(allowed, gain, 0)
    if len(gain) <= gain.shape[1]:
        paired, partners = np.arange(len(gain)), _best_columns(-every)
    else:
        paired, partners = _best_columns(-every.T), np.arange(gain.shape[1])
    good = allowed[paired, partners]
    return paired[good], partners[good]


def _best_columns(cost: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return a column of its own for each row, so that the sum of the costs is least.

    Rows are taken in one after the other, each along the shortest path that ends at a free column. scipy has the same, and
    takes half a second to import, in the middle of a live stream.

    Source: Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems"
    (Computing 38, 1987), its last phase.

    Args:
        cost: (rows, columns), at least as many columns as rows.
    """
    rows, columns = cost.shape
    row_prices, column_prices = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for new in range(rows):
        distances, before = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, bool)
        row, end, walked = new, -1, 0.0
        while row >= 0:  # Dijkstra, until a column is free
            onward = walked + cost[row] - row_prices[row] - column_prices
            shorter = ~done & (onward < distances)
            distances[shorter], before[shorter] = onward[shorter], end
            end = int(np.where(done, np.inf, distances).argmin())
            walked = distances[end]
            done[end] = True
            row = row_of[end]
        passed = done & (row_of >= 0)
        row_prices[new] += walked
        row_prices[row_of[passed]] += walked - distances[passed]
        column_prices[done] -= walked - distances[done]
        while end >= 0:  # each column on the path goes to the row of the one before
            row_of[end] = new if before[end] < 0 else row_of[before[end]]
            end = before[end]
    taken = np.flatnonzero(row_of >= 0)
    best = np.empty(rows, np.int64)
    best[row_of[taken]] = taken
    return best
