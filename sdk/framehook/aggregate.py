"""What a classifier said of the views of a track, as one value: the mathematics behind `Column`."""

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
class _Track:
    """Weighted sums over a track's views."""

    seconds: float
    weight: float = 0.0
    sums: dict[str, Any] = field(default_factory=dict)


class TrackAggregator:
    """Turns one classifier's values for single views into values for tracks, in one stream.

    With w the views' qualities and m, s, p what a view reported: mean = Σwm / Σw; std² = Σw(s² + m²) / Σw - mean², the variance
    of the mixture of the views; probabilities = Σwp / Σw. Memory grows with the tracks of the last ten minutes, not with the
    stream.

    Args:
        columns: as the classifier declares them.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._tracks: dict[int, _Track] = {}
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
        quality = views.attributes.get("quality")
        for i, track_id in enumerate(views.tracks.tolist()):
            if track_id == NO_TRACK:
                continue
            track = self._tracks.setdefault(track_id, _Track(seconds))
            weight = 1.0 if quality is None else max(float(quality[i]), _LEAST_WEIGHT)
            track.weight += weight
            for column in self._columns:
                _accumulate(track.sums, column, views, i, weight)

    def _values(self, column: Column, detections: Detections, views: Detections, rows: NDArray[np.int64]) -> NDArray[Any]:
        values = _missing(column, len(detections), views)
        alone = views.tracks == NO_TRACK
        if alone.any():
            values[rows[alone]] = views.attributes[column.name][alone]
        for i, track_id in enumerate(detections.tracks.tolist()):
            if track_id != NO_TRACK and (track := self._tracks.get(track_id)) is not None:
                values[i] = _value(track, column, self._columns)
        return values

    def _sweep(self, seconds: float) -> None:
        """Forget tracks not seen for long; once a minute of the stream's time is enough."""
        if abs(seconds - self._swept) > _FORGET_SECONDS / 10:
            self._swept = seconds
            old = [i for i, track in self._tracks.items() if abs(seconds - track.seconds) > _FORGET_SECONDS]
            for track_id in old:
                del self._tracks[track_id]


def _accumulate(sums: dict[str, Any], column: Column, views: Detections, i: int, weight: float) -> None:
    """Add row i of the views to a track's sums."""
    if column.aggregate == "probability":
        return  # it is the vote's
    value = views.attributes[column.name][i]
    if column.aggregate == "mean":
        sums[column.name] = sums.get(column.name, 0.0) + weight * float(value)
    elif column.aggregate == "std":
        mean = float(views.attributes[column.of][i])
        sums[column.name] = sums.get(column.name, 0.0) + weight * (float(value) ** 2 + mean**2)
    elif column.aggregate == "vote":
        score = float(views.attributes[column.of][i]) if column.of else 1.0
        others = max(len(column.categories) - 1, 1)
        shares = np.full(len(column.categories), (1 - score) / others)
        shares[column.categories.index(str(value))] = score
        sums[column.name] = sums.get(column.name, 0.0) + weight * shares
    else:
        sums[column.name] = value


def _value(track: _Track, column: Column, columns: Sequence[Column]) -> Any:
    """Return a track's aggregate of one column."""
    if column.aggregate == "mean":
        return track.sums[column.name] / track.weight
    if column.aggregate == "std":
        mean = track.sums[column.of] / track.weight
        return max(track.sums[column.name] / track.weight - mean**2, 0.0) ** 0.5
    if column.aggregate == "vote":
        return column.categories[int(np.argmax(track.sums[column.name]))]
    if column.aggregate == "probability":
        return float(np.max(track.sums[column.of])) / track.weight
    return track.sums[column.name]


def _missing(column: Column, n: int, views: Detections) -> NDArray[Any]:
    """Return n missing values of the column's type."""
    if column.aggregate == "vote":
        return np.full(n, "", f"<U{max(map(len, column.categories), default=1)}")
    sample = views.attributes.get(column.name)
    if sample is not None and sample.dtype.kind == "U":
        return np.full(n, "", sample.dtype)
    return np.full(n, np.nan, np.float32)
