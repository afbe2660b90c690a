"""What is known of one person over time, gathered from the results of single frames."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framehook.detections import NO_TRACK, Detections, is_missing
from framehook.results import FrameResult


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSummary:
    """One track, from the first frame that saw it to the last."""

    stream: str
    """Name of the stream."""
    track: int
    """Its id, unique within the stream."""
    label: str
    """What it is: the label that most of its frames gave it."""
    first_seconds: float
    """Presentation time of the first frame that saw it."""
    last_seconds: float
    """Presentation time of the last frame that saw it."""
    frames: int
    """Number of frames that saw it."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The aggregate of each attribute of one value: a number or a string; NaN or empty where nothing is known."""


@dataclass(slots=True)
class _Track:
    """A track that may still be seen again."""

    order: int
    first_seconds: float
    last_seconds: float
    labels: Counter[str] = field(default_factory=Counter)
    attributes: dict[str, Any] = field(default_factory=dict)


class TrackLog:
    """Gathers the results of one stream into one summary for each track.

    A frame reports each track's aggregate so far, so the latest value of an attribute is the track's; a missing one never
    replaces a known one. Attributes of several values, such as landmarks, are of the moment and left out.

    A track that was not seen for `idle_seconds` of the stream's time is finished, which bounds the memory of endless streams.
    Should its id come back after that, a second summary carries the rest.

    Raises:
        ValueError: an idle time that is not positive.
    """

    def __init__(self, *, idle_seconds: float = 600.0) -> None:
        if not idle_seconds > 0:
            raise ValueError(f"idle_seconds must be positive, got {idle_seconds}")
        self._idle_seconds = idle_seconds
        self._stream = ""
        self._begun = 0
        self._tracks: dict[int, _Track] = {}  # the longest unseen first

    def update(self, result: FrameResult) -> list[TrackSummary]:
        """Take in the next result, and return the tracks that are finished, in order of first appearance."""
        self._stream = result.frame.stream.name
        seconds = result.frame.seconds
        finished = self._pop_idle(seconds)
        self._see(result.detections, seconds)
        return self._summaries(finished)

    def finish(self) -> list[TrackSummary]:
        """Return all tracks that are left, in order of first appearance, and begin anew."""
        left = dict(self._tracks)
        self._tracks.clear()
        return self._summaries(left)

    def _pop_idle(self, seconds: float) -> dict[int, _Track]:
        idle = {}
        for track_id, track in self._tracks.items():
            # A clock that jumps back, as cameras' do when they restart, must not keep tracks for ever: hence abs.
            if abs(seconds - track.last_seconds) <= self._idle_seconds:
                break
            idle[track_id] = track
        for track_id in idle:
            del self._tracks[track_id]
        return idle

    def _see(self, detections: Detections, seconds: float) -> None:
        columns = {name: values.tolist() for name, values in detections.attributes.items() if values.ndim == 1}
        rows = zip(detections.tracks.tolist(), detections.labels.tolist(), strict=True)
        for row, (track_id, label) in enumerate(rows):
            if track_id == NO_TRACK:
                continue
            track = self._tracks.pop(track_id, None)
            if track is None:
                track = _Track(self._begun, seconds, seconds)
                self._begun += 1
            self._tracks[track_id] = track  # last in the order, as it was seen last
            track.last_seconds = seconds
            track.labels[detections.names[label]] += 1
            for name, values in columns.items():
                if name not in track.attributes or not is_missing(values[row]):
                    track.attributes[name] = values[row]

    def _summaries(self, tracks: Mapping[int, _Track]) -> list[TrackSummary]:
        return [
            TrackSummary(
                stream=self._stream,
                track=track_id,
                label=track.labels.most_common(1)[0][0],
                first_seconds=track.first_seconds,
                last_seconds=track.last_seconds,
                frames=track.labels.total(),
                attributes=track.attributes,
            )
            for track_id, track in sorted(tracks.items(), key=lambda item: item[1].order)
        ]
