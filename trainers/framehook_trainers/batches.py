"""The batch of each step: the same faces in the same order for the same seed, read from the device where they fit."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framehook import UsageError
from framehook_trainers.datasets.faces import Faces
from framehook_trainers.datasets.fairface import BRACKETS
from framehook_trainers.distributed import World
from framehook_trainers.draws import seeded, upload

Rows: TypeAlias = NDArray[np.int64]
T = TypeVar("T")

_CLASS_STARTS = [low for low, _ in BRACKETS.values()]  # years
_UPLOADED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The faces of one step, all on the device."""

    pixels: Tensor
    """(n, side, side, 3) uint8 RGB: views, or stored crops where no views are made."""
    ages: Tensor
    """(n, 2) int64 youngest and oldest year that the label allows; -1 where unknown."""
    female: Tensor
    """(n,) int8: 1, 0, or -1 where unknown."""
    step: int
    """Which step it is for."""

    def __len__(self) -> int:
        return len(self.female)


class Batches:
    """This process's share of the batch of each step.

    With CUDA all crops are uploaded once where they fit into half of the free memory; else they are read as they are needed.

    Args:
        faces: prepared faces of the training split.
        size: faces of a batch, over all processes.
        seed: of the order and of the views.
        world: the processes that train together.
        datasets: the sets to draw from; None: all.
        repeats: how often an epoch shows each face of a set, by the set's name; 1 where not named, and 0.5 shows half of them.
        balance: 0 shows all ages as often as they occur; 1 shows all nine age classes equally often; between, a power between.
        views: makes the views of stored crops, (n, stored, stored, 3) uint8, given the epoch and what to draw from.

    Raises:
        UsageError: an epoch does not fill a batch, the batch cannot be shared evenly, or a set that is not there.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        size: int,
        seed: int,
        world: World,
        datasets: Collection[str] | None = None,
        repeats: Mapping[str, float] | None = None,
        balance: float = 0.0,
        views: Callable[[Tensor, int, torch.Generator], Tensor] | None = None,
    ) -> None:
        weights = show_weights(faces, datasets=datasets, repeats=repeats or {}, balance=balance)
        self.size = size
        self.datasets = tuple(np.unique(faces.datasets).tolist() if datasets is None else datasets)
        self.steps_per_epoch = round(float(weights.sum())) // size
        if not self.steps_per_epoch:
            raise UsageError(f"{len(faces)} training faces, shown {weights.sum():.0f} times, do not fill a batch of {size}")
        if size % world.size:
            raise UsageError(f"a batch of {size} cannot be shared evenly by {world.size} processes: choose a multiple")
        self._weights = weights
        self._seed = seed
        self._world = world
        self._views = views
        self._crops = _Crops(faces, world.device)
        self._ages = torch.tensor(faces.ages, device=world.device)
        self._female = torch.tensor(faces.female, device=world.device)
        self._order = (-1, np.empty(0, np.int64))

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self._weights, seed=self._seed, epoch=epoch))
        share = self.size // self._world.size
        start = place * self.size + self._world.rank * share
        rows = self._order[1][start : start + share]
        there = upload(torch.from_numpy(rows), self._world.device)
        pixels = self._crops.take(rows, there)
        if self._views is not None:
            pixels = self._views(pixels, epoch, seeded(self._seed, step, self._world.rank))
        return Batch(pixels=pixels, ages=self._ages[there], female=self._female[there], step=step)


class _Crops:
    """The stored crops: on the device where they fit, else where they lie."""

    def __init__(self, faces: Faces, device: torch.device) -> None:
        self._faces = faces
        self._device = device
        self._resident: Tensor | None = None
        shape = (len(faces), faces.geometry.stored_size, faces.geometry.stored_size, 3)
        if device.type == "cuda" and int(np.prod(shape)) < torch.cuda.mem_get_info(device)[0] / 2:
            self._resident = torch.empty(shape, dtype=torch.uint8, device=device)
            for start in range(0, len(faces), _UPLOADED_AT_ONCE):
                rows = np.arange(start, min(start + _UPLOADED_AT_ONCE, len(faces)))
                self._resident[start : start + len(rows)] = torch.from_numpy(faces.crops(rows)).to(device)

    def take(self, rows: Rows, there: Tensor) -> Tensor:
        """Return the crops of these rows, which the device knows too, (n, stored, stored, 3) uint8 on the device."""
        if self._resident is not None:
            return self._resident[there]
        return upload(torch.from_numpy(self._faces.crops(rows)), self._device)


def show_weights(
    faces: Faces, *, datasets: Collection[str] | None, repeats: Mapping[str, float], balance: float
) -> NDArray[np.float64]:
    """Return how often, on average, an epoch shows each face, (n,).

    An age class that holds the share s of what is shown is weighted by s^-balance, and all together so that the epoch stays as
    long; a face of unknown age keeps its weight.

    Raises:
        UsageError: a set that is not there.
    """
    check_present(faces, {*repeats, *(datasets or ())})
    names = faces.datasets.tolist()
    times = {name: repeats.get(name, 1.0) if datasets is None or name in datasets else 0.0 for name in set(names)}
    weights = np.array([times[name] for name in names], np.float64)
    known = faces.ages[:, 0] >= 0
    classes = np.searchsorted(_CLASS_STARTS, faces.ages[known].mean(axis=1), side="right") - 1
    shown = np.bincount(classes, weights=weights[known], minlength=len(_CLASS_STARTS))
    balanced = weights[known] * np.maximum(shown, 1e-9)[classes] ** -balance  # a class of which nothing is shown stays at 0
    if balanced.sum() > 0:
        weights[known] = balanced * (shown.sum() / balanced.sum())
    return weights


def check_present(faces: Faces, datasets: Iterable[str], *, advice: str = "") -> None:
    """Make sure that there are training faces of each of these sets.

    Args:
        faces: of the training split.
        datasets: the sets.
        advice: what to do where one is not there.

    Raises:
        UsageError: a set that is not there.
    """
    present = set(faces.datasets.tolist())
    if absent := set(datasets) - present:
        raise UsageError(
            f"no training face is of '{min(absent)}'; there are: {', '.join(sorted(present))}{advice and f'; {advice}'}"
        )


def epoch_order(weights: NDArray[np.float64], *, seed: int, epoch: int) -> Rows:
    """Return the faces that an epoch shows, in a random order that depends on the seed and the epoch alone.

    Each face appears as often as its weight says, rounded up or down at random (systematic resampling: Kitagawa, "Monte Carlo
    Filter and Smoother", 1996); with weights of 1 the order is a permutation.

    Args:
        weights: (n,) how often to show each face, on average.
        seed: of the run.
        epoch: from 0.
    """
    random = np.random.default_rng([seed, epoch])
    rows = random.permutation(len(weights))
    ends = np.cumsum(weights[rows])
    shown = round(float(weights.sum()))
    points = (np.arange(shown) + random.random()) * (ends[-1] / shown)
    chosen = np.searchsorted(ends, points, side="right").clip(max=len(rows) - 1)
    return np.asarray(random.permutation(rows[chosen]), np.int64)


def prefetched(batch_of: Callable[[int], T], steps: range) -> Generator[T]:
    """Yield the batches of these steps; a thread makes the next one while the last is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming = [pool.submit(batch_of, step) for step in steps[:1]]
        for step in steps:
            batch = coming.pop().result()
            if step + 1 in steps:
                coming.append(pool.submit(batch_of, step + 1))
            yield batch
