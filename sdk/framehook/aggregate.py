"""What a classifier said of the views of a track, as one value: the mathematics behind `Column`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framehook.contracts import Column
from framehook.detections import NO_TRACK, Detections

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


@dataclass(slots=True)
class _Track:
    """What is known of one track."""

    seconds: float
    sums: dict[str, _Sum] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)


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
        self._dtypes: dict[str, np.dtype[Any]] = {}  # of the `last` columns, once a view was seen
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
        for column in self._columns:
            if column.aggregate == "last" and column.name in views.attributes:
                self._dtypes.setdefault(column.name, views.attributes[column.name].dtype)
        quality = views.attributes.get("quality")
        for i, track_id in enumerate(views.tracks.tolist()):
            if track_id == NO_TRACK:
                continue
            track = self._tracks.setdefault(track_id, _Track(seconds))
            weight = 1.0 if quality is None else max(_LEAST_WEIGHT, float(quality[i]))
            for column in self._columns:
                _accumulate(track, column, views, i, weight)

    def _values(self, column: Column, detections: Detections, views: Detections, rows: NDArray[np.int64]) -> NDArray[Any]:
        dtype, missing = self._type(column)
        said = [missing] * len(detections)
        for i, track_id in enumerate(detections.tracks.tolist()):
            if track_id != NO_TRACK and (track := self._tracks.get(track_id)) is not None:
                said[i] = _value(track, column, missing)
        for view in np.flatnonzero(views.tracks == NO_TRACK):
            said[rows[view]] = views.attributes[column.name][view]
        return np.array(said, dtype)

    def _type(self, column: Column) -> tuple[Any, Any]:
        """Return the type of a column's values, and what stands for a missing one."""
        if column.aggregate == "vote":
            return f"<U{max(map(len, column.categories), default=1)}", ""
        dtype = self._dtypes.get(column.name, np.dtype(np.float32))
        if dtype.kind == "U":
            return str, ""  # as long as this frame's words are
        return dtype if dtype.kind == "f" else np.float64, math.nan  # float64 holds whole numbers, and NaN beside them

    def _sweep(self, seconds: float) -> None:
        """Forget tracks not seen for long; once a minute of the stream's time is enough."""
        if abs(seconds - self._swept) > _FORGET_SECONDS / 10:
            self._swept = seconds
            old = [i for i, track in self._tracks.items() if abs(seconds - track.seconds) > _FORGET_SECONDS]
            for track_id in old:
                del self._tracks[track_id]


def _accumulate(track: _Track, column: Column, views: Detections, i: int, weight: float) -> None:
    """Add what row i of the views says in a column."""
    names = [name for name in (column.name, column.of) if name in views.attributes]
    said = [views.attributes[name][i] for name in names]
    if column.aggregate == "probability" or any(map(_says_nothing, said)):
        return  # a probability is the vote's
    value, *others = said
    if column.aggregate == "last":
        track.last[column.name] = value
        return
    total = track.sums.setdefault(column.name, _Sum())
    if column.aggregate == "mean":
        total.add(float(value), weight)
    elif column.aggregate == "std":
        mean = float(others[0])
        total.add(np.array([float(value) ** 2 + mean**2, mean]), weight)
    else:
        score = float(others[0]) if others else 1.0
        shares = np.full(len(column.categories), (1 - score) / max(len(column.categories) - 1, 1))
        shares[column.categories.index(str(value))] = score
        total.add(shares, weight)


def _says_nothing(value: Any) -> bool:
    return not value if isinstance(value, str) else bool(np.isnan(value))


def _value(track: _Track, column: Column, missing: Any) -> Any:
    """Return a track's aggregate of one column."""
    if column.aggregate == "last":
        return track.last.get(column.name, missing)
    total = track.sums.get(column.of if column.aggregate == "probability" else column.name)
    if total is None:
        return missing
    if column.aggregate == "mean":
        return total.mean
    if column.aggregate == "std":
        second, mean = total.mean
        return max(second - mean**2, 0.0) ** 0.5
    if column.aggregate == "vote":
        return column.categories[int(np.argmax(total.total))]
    return float(np.max(total.mean))
