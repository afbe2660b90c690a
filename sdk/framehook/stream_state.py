"""What is remembered of one stream while it runs: its statistics, its tracks, and what was looked at when."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framehook import geometry
from framehook.aggregate import TrackAggregator
from framehook.contracts import Refiner, keeps
from framehook.detections import NO_TRACK, Detections
from framehook.frame import Image, StreamInfo
from framehook.results import Event, StreamStatistics
from framehook.stages import Stages

# A new track is looked at three times in a row, so that its first reports are steady, and twice more after these waits: frames
# that follow each other show much the same. docs/models.md says how much less the reported age moves later on.
_FIRST_WAITS_SECONDS = (0.0, 0.0, 0.11, 0.19)
_REVIEW_SECONDS = 0.47  # and then again after half a second; a little less, since no frame falls exactly there
_FORGET_FRAMES = 20_000
_GLANCE_SIDE = 16  # pixels across and down that two pictures are compared by
_CUT = 30.0  # mean difference of these, of 255 and without their means: on real clips moving cameras stay below 13, a cut has 70
# Between detections where a refiner follows: every 5th frame at 30 frames/s where something is new. One that finds nothing new
# has the next one wait longer. benchmarks/refine.py measures the recall: 97.1 % over ten starts, 96.9 % with at most 0.32 s.
_DETECT_SECONDS, _AT_MOST_SECONDS, _LONGER = 0.15, 0.29, 1.5
_SAME = 0.3  # intersection over union with something in the frame before


@dataclass(slots=True)
class Counters:
    """The statistics of a stream while it runs."""

    decoded: int = 0
    dropped: int = 0
    processed: int = 0
    late: int = 0
    damaged: int = 0
    detections: int = 0
    tracks: int = 0
    started: float = field(default_factory=time.perf_counter)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    inference_seconds: float = 0.0
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    ended: float | None = None
    lost_sinks: tuple[str, ...] = ()
    highest_track: int = 0

    def spend(self, stage: str, seconds: float) -> None:
        """Add to the time spent in a stage."""
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds

    def count(self, detections: Detections) -> None:
        """Take in the detections of one processed frame."""
        self.processed += 1
        self.detections += len(detections)
        # Ids rise (contracts.Tracker), so the number of ids above the highest one seen is the number of new tracks.
        new = np.unique(detections.tracks[detections.tracks > self.highest_track])
        self.tracks += len(new)
        self.highest_track = max(self.highest_track, *new.tolist()) if len(new) else self.highest_track

    def statistics(self, stream: str) -> StreamStatistics:
        """Return what has been counted so far."""
        seconds = (self.ended or time.perf_counter()) - self.started
        # Decoding and writing have threads of their own, all other stages share one.
        busiest = max(self.inference_seconds, *(self.stage_seconds.get(stage, 0.0) for stage in ("decode", "write")))
        return StreamStatistics(
            stream=stream,
            decoded=self.decoded,
            dropped=self.dropped,
            processed=self.processed,
            late=self.late,
            damaged=self.damaged,
            detections=self.detections,
            tracks=self.tracks,
            seconds=seconds,
            stage_seconds=dict(self.stage_seconds),
            overhead=seconds / busiest if self.inference_seconds else None,
            interrupted=self.interrupted,
            warnings=tuple(self.warnings),
            error=self.error,
            lost_sinks=self.lost_sinks,
        )


class _Looks(NamedTuple):
    """How often a track was looked at, and when last."""

    views: int
    number: int
    seconds: float


class StreamState:
    """What is remembered of one stream from frame to frame."""

    def __init__(self, stream: StreamInfo, stages: Stages, counters: Counters, happened: deque[Event] | None = None) -> None:
        self.stream = stream
        self.counters = counters
        self._happened = deque() if happened is None else happened
        self.tracker = stages.make_tracker() if stages.make_tracker else None
        self.aggregators = [TrackAggregator(classifier.columns) for classifier in stages.classifiers]
        self.analyzers = [make() for make in stages.make_analyzers]
        self.last = Detections.empty()
        """What was found in the last frame that was really looked at, without attributes."""
        self._glance: NDArray[np.float32] | None = None
        self._frames = 0
        self._detected: tuple[int, float] | None = None  # number and seconds of the last frame that was to be detected on
        follows = self.tracker is not None and (stages.detect_every is not None or keeps(stages.detector, Refiner))
        self._detect_every = stages.detect_every if follows else 1
        self._detect_seconds = _DETECT_SECONDS
        self._looks: dict[int, _Looks] = {}  # by track
        self._classify_every = stages.classify_every

    def next_frame(self, seconds: float) -> tuple[int, bool]:
        """Count a frame: return its place among the processed ones, and whether it is one to detect on.

        Args:
            seconds: the frame's time.
        """
        number = self._frames
        self._frames += 1
        if self._detected is None:
            due = True
        elif self._detect_every is not None:
            due = number - self._detected[0] >= self._detect_every
        else:
            due = not 0 <= seconds - self._detected[1] < self._detect_seconds
        if due:
            self.detects_on(number, seconds)
        return number, due

    def events_until(self, seconds: float) -> tuple[Event, ...]:
        """Return what happened to the source before a frame, and was in no result yet.

        Args:
            seconds: the frame's time.
        """
        events = []
        while self._happened and self._happened[0].seconds < seconds:
            events.append(self._happened.popleft())
        return tuple(events)

    def detects_on(self, number: int, seconds: float) -> None:
        """Note that a frame is detected on, be it due or not; a later one of its batch may have been due already."""
        if self._detected is None or number > self._detected[0]:
            self._detected = number, seconds

    def detects_early(self, seconds: float) -> bool:
        """Reset the wait for the next detection to its shortest, and say whether it is over.

        Args:
            seconds: the time of the frame in question.
        """
        self._detect_seconds = _DETECT_SECONDS
        return self._detected is None or not 0 <= seconds - self._detected[1] < _DETECT_SECONDS

    def take_in_found(self, found: Detections) -> None:
        """Plan the next detection by what one has just found: where nothing is new it may wait longer."""
        new = geometry.iou(found.boxes, self.last.boxes).max(axis=1, initial=0) < _SAME
        self._detect_seconds = _DETECT_SECONDS if new.any() else min(self._detect_seconds * _LONGER, _AT_MOST_SECONDS)

    def shows_another_scene(self, image: Image) -> bool:
        """Take in a picture that is looked at: say whether it has little to do with the one before."""
        rows, columns = (max(side // _GLANCE_SIDE, 1) for side in image.shape[:2])
        glance = image[rows // 2 :: rows, columns // 2 :: columns].astype(np.float32)
        glance -= glance.mean()  # a flash is no cut
        before, self._glance = self._glance, glance
        return before is not None and float(np.abs(glance - before).mean()) > _CUT

    def to_classify(self, detections: Detections, number: int, seconds: float) -> NDArray[np.int64]:
        """Return the rows that want a look: new tracks, those not looked at for some time, and all without a track.

        Args:
            detections: a frame's, tracked.
            number: the frame's place among the processed ones.
            seconds: the frame's time.
        """
        rows = []
        for row, track in enumerate(detections.tracks.tolist()):
            looks = self._looks.get(track, _Looks(0, number, seconds))
            if track == NO_TRACK or not looks.views or self._wants_another(looks, number, seconds):
                rows.append(row)
                if track != NO_TRACK:
                    self._looks[track] = _Looks(looks.views + 1, number, seconds)
        if len(self._looks) > 1000:  # bounded however long the stream
            self._looks = {track: looks for track, looks in self._looks.items() if number - looks.number < _FORGET_FRAMES}
        return np.array(rows, dtype=np.int64)

    def _wants_another(self, looks: _Looks, number: int, seconds: float) -> bool:
        if self._classify_every is not None and number - looks.number >= self._classify_every:
            return True
        if looks.views <= len(_FIRST_WAITS_SECONDS):
            return not 0 <= seconds - looks.seconds < _FIRST_WAITS_SECONDS[looks.views - 1]
        return self._classify_every is None and not 0 <= seconds - looks.seconds < _REVIEW_SECONDS
