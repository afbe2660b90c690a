"""What a classifier said of the views of a track, as one value: the mathematics behind `Column`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framehook.contracts import Column
from framehook.detections import NO_TRACK, Detections, is_missing

_FORGET_SECONDS = 600.0
_LEAST_WEIGHT = 1e-6  # a view of quality 0 still counts when there is no other


@dataclass(slots=True)
class _Sum:
    """Of what the views of a track said in one column, those left out that said nothing."""

    weight: float = 0.0
    total: Any = 0.0

    def add(self, value: Any, weight: float) -> None:
        self.weight += weight
        self.total = self.total + weight * value

    @property
    def mean(self) -> Any:
        return self.total / self.weight


class _Last:
    value: Any = None

    def __init__(self, column: Column) -> None:
        pass

    def add(self, said: Any, *, weight: float) -> None:
        self.value = said


class _Mean:
    def __init__(self, column: Column) -> None:
        self._sum = _Sum()

    def add(self, said: Any, *, weight: float) -> None:
        self._sum.add(float(said), weight)

    @property
    def value(self) -> float:
        return float(self._sum.mean)


class _Std:
    def __init__(self, column: Column) -> None:
        self._sum = _Sum()
        self._first: float | None = None

    def add(self, said: Any, mean: Any, *, weight: float) -> None:
        if self._first is None:
            self._first = float(mean)
        away = float(mean) - self._first  # squares of the means themselves would round away the difference between large ones
        self._sum.add(np.array([float(said) ** 2 + away**2, away]), weight)

    @property
    def value(self) -> float:
        second, away = self._sum.mean
        return float(max(second - away**2, 0.0) ** 0.5)


class _Vote:
    def __init__(self, column: Column) -> None:
        self._words = column.categories
        self._sum = _Sum()

    def add(self, said: Any, score: Any = 1.0, *, weight: float) -> None:
        shares = np.full(len(self._words), (1 - float(score)) / max(len(self._words) - 1, 1))
        shares[self._words.index(str(said))] = score
        self._sum.add(shares, weight)

    @property
    def value(self) -> str:
        return self._words[int(np.argmax(self._sum.total))]

    @property
    def probability(self) -> float:
        return float(np.max(self._sum.mean))


_AGGREGATES: dict[str, Any] = {"last": _Last, "mean": _Mean, "std": _Std, "vote": _Vote}  # a `probability` is its vote's


@dataclass(slots=True)
class _Track:
    """What is known of one track."""

    seconds: float
    columns: dict[str, Any] = field(default_factory=dict)  # of `_AGGREGATES`, once a view said something


class TrackAggregator:
    """Turns one classifier's values for single views into values for tracks, in one stream.

    With w the views' qualities and m, s, p what a view reported: mean = Σwm / Σw; std² = Σw(s² + m²) / Σw - mean², the variance
    of the mixture of the views; probabilities = Σwp / Σw. A view that reports NaN or no word says nothing of that column. Memory
    grows with the tracks of the last ten minutes, not with the stream.

    Args:
        columns: as the classifier declares them.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._tracks: dict[int, _Track] = {}
        self._types: dict[str, np.dtype[Any]] = {}  # what holds all that was said in a column
        self._swept = 0.0

    def report(self, detections: Detections, views: Detections, rows: NDArray[np.int64], seconds: float) -> Detections:
        """Take in the new views of a frame, and return the frame's detections with every column.

        A row with a track gets the track's aggregate so far; one without gets what was said of this view alone; one of which
        nothing is known yet gets NaN or an empty string.

        Args:
            detections: all of the frame's, n.
            views: those that were classified, with the classifier's attributes.
            rows: (len(views),) which of the n they are.
            seconds: the frame's time.
        """
        self._add(views, seconds)
        for track_id in detections.tracks.tolist():
            if track_id in self._tracks:
                self._tracks[track_id].seconds = seconds
        self._sweep(seconds)
        new = {column.name: self._values(column, detections, views, rows) for column in self._columns}
        return detections.with_attributes(**new)

    def _add(self, views: Detections, seconds: float) -> None:
        if not len(views):
            return  # nobody was asked about them
        for column in self._columns:
            self._see_type(column, views.attributes[column.name].dtype)
        quality = views.attributes.get("quality")
        for i, track_id in enumerate(views.tracks.tolist()):
            if track_id == NO_TRACK:
                continue
            track = self._tracks.setdefault(track_id, _Track(seconds))
            weight = 1.0 if quality is None else max(_LEAST_WEIGHT, float(quality[i]))
            for column in self._columns:
                said = [views.attributes[name][i] for name in (column.name, column.of) if name]
                if column.aggregate == "probability" or any(map(is_missing, said)):
                    continue
                if column.name not in track.columns:
                    track.columns[column.name] = _AGGREGATES[column.aggregate](column)
                track.columns[column.name].add(*said, weight=weight)

    def _see_type(self, column: Column, new: np.dtype[Any]) -> None:
        before = self._types.get(column.name, new)
        if (before.kind == "U") != (new.kind == "U"):
            raise ValueError(
                f"gave column '{column.name}' values of type {new} after {before}, wanted words or numbers, not both"
            )
        self._types[column.name] = np.result_type(before, new)

    def _values(self, column: Column, detections: Detections, views: Detections, rows: NDArray[np.int64]) -> NDArray[Any]:
        said: list[Any] = [None] * len(detections)
        for i, track_id in enumerate(detections.tracks.tolist()):
            if track_id != NO_TRACK and (track := self._tracks.get(track_id)) is not None:
                said[i] = _value(track, column)
        for view in np.flatnonzero(views.tracks == NO_TRACK):
            said[rows[view]] = views.attributes[column.name][view]
        dtype = self._type(column, lacks=any(value is None for value in said))
        missing = math.nan if dtype.kind == "f" else ""
        return np.array([missing if value is None else value for value in said], dtype)

    def _type(self, column: Column, *, lacks: bool) -> np.dtype[Any]:
        """Return the type of a column's values in a frame, which may lack some."""
        if column.aggregate == "vote":
            return np.dtype(f"<U{max(map(len, column.categories))}")
        seen = self._types.get(column.name, np.dtype(np.float32))
        if seen.kind == "U":
            return np.dtype(str)  # as long as this frame's words are
        if column.aggregate != "last":
            return np.result_type(seen, np.float32)
        return np.dtype(np.float64) if lacks and seen.kind != "f" else seen  # no whole number can stand for a missing one

    def _sweep(self, seconds: float) -> None:
        """Forget tracks not seen for long; once a minute of the stream's time is enough."""
        if abs(seconds - self._swept) > _FORGET_SECONDS / 10:
            self._swept = seconds
            old = [i for i, track in self._tracks.items() if abs(seconds - track.seconds) > _FORGET_SECONDS]
            for track_id in old:
                del self._tracks[track_id]


def _value(track: _Track, column: Column) -> Any:
    """Return a track's aggregate of one column, None where no view said anything."""
    probability = column.aggregate == "probability"
    known = track.columns.get(column.of if probability else column.name)
    if known is None:
        return None
    return known.probability if probability else known.value
