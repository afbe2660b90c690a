"""Which pictures show the same photograph, whatever their files are called: recompressed, rescaled or slightly shifted copies."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_BITS = 256

_HASH_SIDE = 16
_SAME_WITHIN = 24  # of 256 bits: copies; unrelated faces differ in 60 and more
_BANDS = _SAME_WITHIN + 1
_ROWS_AT_ONCE = 2048


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (256,) bits: whether each cell of a 16 x 16 grid is brighter than the one to its left.

    Source: N. Krawetz, "Kind of Like That" (2013), with a finer grid, for faces cut alike resemble each other in 8 x 8 cells.

    Args:
        image: (height, width, 3) RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.asarray(cells[:, 1:] > cells[:, :-1]).ravel()


def group_by_content(hashes: NDArray[np.bool_], files: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return a group number for each picture, (n,): pictures whose hashes nearly agree, directly or by way of others, share it.

    Hashes that differ in at most 24 bits agree on one of 25 bands of bits at least, so only pictures that agree on a band are
    compared (locality-sensitive hashing; Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
    CVPR 2012, with radius 0 in each band). Nothing is missed, and memory grows with n, not with its square.

    Args:
        hashes: (n, 256).
        files: (n,) what tells files apart: one file cut twice, in different places, is one content too.

    Returns:
        Numbers from 0, in the order of each group's first picture.
    """
    different, of_row = np.unique(np.packbits(hashes, axis=1).reshape(-1, HASH_BITS // 8), axis=0, return_inverse=True)
    links = (_links(rows, different[rows]) for rows in _buckets(different))
    edges = np.concatenate([np.empty((2, 0), np.int64), *links], axis=1)
    n = len(different)
    graph = coo_array((np.ones(edges.shape[1], bool), (edges[0], edges[1])), shape=(n, n))
    groups = connected_components(graph, directed=False)[1][of_row.ravel()]
    return _in_order_of_appearance(groups if files is None else _joined_by(groups, files))


def _buckets(packed: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each two or more hashes that agree on a band."""
    bits = np.unpackbits(packed, axis=1)
    for band in range(_BANDS):
        # Every 25th bit: neighbouring cells of a face say much the same, and would fill few buckets.
        _, bucket, sizes = np.unique(np.packbits(bits[:, band::_BANDS], axis=1), axis=0, return_inverse=True, return_counts=True)
        by_bucket = np.split(np.argsort(bucket.ravel(), kind="stable"), np.cumsum(sizes)[:-1])
        yield from (rows for rows in by_bucket if len(rows) > 1)


def _links(rows: NDArray[np.int64], packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return pairs of rows, (2, k), that join those whose hashes nearly agree: as few as join them.

    Args:
        rows: (n,) their numbers.
        packed: (n, 32) their hashes.
    """
    n = len(rows)
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    near: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for start in range(0, n, _ROWS_AT_ONCE):
        agreement = signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T  # bits that agree less bits that differ
        first, second = np.nonzero(np.triu(agreement >= HASH_BITS - 2 * _SAME_WITHIN, k=1))
        near.append((first + start, second + start))
    if not any(len(first) for first, _ in near):
        return np.empty((2, 0), np.int64)
    first, second = (np.concatenate(ends) for ends in zip(*near, strict=True))
    joined = connected_components(coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n)), directed=False)[1]
    _, representative = np.unique(joined, return_index=True)
    others = np.flatnonzero(representative[joined] != np.arange(n))
    return np.stack([rows[others], rows[representative[joined[others]]]])


def _joined_by(groups: NDArray[np.integer], files: Sequence[str]) -> NDArray[np.integer]:
    """Return the groups, (n,), those joined that have a file in common."""
    _, file = np.unique(np.array(files), return_inverse=True)
    first_file = int(groups.max(initial=-1)) + 1  # groups and files are the nodes of one graph, pictures its edges
    n = first_file + len(files)
    graph = coo_array((np.ones(len(files), bool), (groups, file.ravel() + first_file)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1][groups])


def _in_order_of_appearance(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    _, first, of_row = np.unique(labels, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first)).astype(np.int64)
    return np.asarray(place[of_row.ravel()])
