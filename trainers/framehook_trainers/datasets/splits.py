"""Splits by content: what shows the same photograph goes to the same side, whatever its file is called."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SPLITS = ("train", "validation", "test")

_HASH_SIDE = 16
_SAME_WITHIN = 24  # of 256 bits: recompressed, rescaled and slightly shifted copies; unrelated faces differ in 60 and more
_TEST_SHARE = 0.10
_VALIDATION_SHARE = 0.05
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


def group_by_content(hashes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return a group number for each picture, (n,): pictures whose hashes nearly agree, directly or by way of others, share it.

    Args:
        hashes: (n, 256).
    """
    n, bits = hashes.shape
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    pairs = []
    for start in range(0, n, _ROWS_AT_ONCE):
        agreement = signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T  # bits that agree less bits that differ
        rows, columns = np.nonzero(agreement >= bits - 2 * _SAME_WITHIN)
        pairs.append(np.stack([rows, columns]) + start)
    rows, columns = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def assign(groups: NDArray[np.int64], hashes: NDArray[np.bool_], *, published: Sequence[str]) -> list[str]:
    """Return the split of each picture: a tenth of the groups `test`, a twentieth `validation`, the rest `train`.

    A group's side is decided by its own hashes, so it does not change when other pictures come or go. A picture that its
    publishers put into `test` takes its group there; a group of nothing but their `train` pictures stays there.

    Args:
        groups: (n,) as `group_by_content` gives them.
        hashes: (n, 256).
        published: (n,) where the pictures' publishers put them, `train`, `test`, or nothing.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups.tolist()):
        members[group].append(i)
    splits = [""] * len(groups)
    for rows in members.values():
        wanted = {published[i] for i in rows}
        if wanted == {"train"} or "test" in wanted:
            split = "test" if "test" in wanted else "train"
        else:
            split = _split_of(min(np.packbits(hashes[i]).tobytes() for i in rows))
        for i in rows:
            splits[i] = split
    return splits


def _split_of(key: bytes) -> str:
    place = int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64  # evenly spread over 0 to 1
    if place < _TEST_SHARE:
        return "test"
    return "validation" if place < _TEST_SHARE + _VALIDATION_SHARE else "train"


def check_no_leak(groups: Sequence[int] | NDArray[np.int64], splits: Sequence[str]) -> None:
    """Make sure that no group of one content lies on two sides.

    Raises:
        ValueError: one does.
    """
    seen: dict[int, str] = {}
    for group, split in zip(map(int, groups), splits, strict=True):
        if seen.setdefault(group, split) != split:
            raise ValueError(f"content group {group} lies in '{seen[group]}' and in '{split}': prepare the faces again")
