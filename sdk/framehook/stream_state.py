"""What is remembered of one stream while it runs: its statistics, its tracks, and what was looked at when."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framehook.aggregate import TrackAggregator
from framehook.contracts import Refiner, keeps
from framehook.detections import NO_TRACK, Detections
from framehook.frame import Image, StreamInfo
from framehook.results import Event, StreamStatistics
from framehook.spacing import Spacing
from framehook.stages import Stages

# A new track is looked at in every second frame at first, at 30 frames/s, for frames that follow each other show much the same,
# and then now and again; a little less, since no frame falls exactly there. docs/models.md says how steady that makes the age.
_FIRST_VIEWS, _FIRST_WAIT_SECONDS = 8, 0.06
_REVIEW_SECONDS = 0.79
_FORGET_FRAMES = 20_000
_GLANCE_SIDE = 16  # pixels across and down that two pictures are compared by
_CUT = 30.0  # mean difference of these, of 255 and without their means: on real clips moving cameras stay below 13, a cut has 70
_LONGER = 1.5  # a detection that finds nothing new has the next one wait so many times longer


class _Waits(NamedTuple):
    """Seconds between detections where a refiner looks in between; benchmarks/refine.py measures the recall."""

    least: float
    """Where something is new."""
    most: float


_ONE_SIDED = _Waits(0.15, 0.29)  # every 5th frame at 30 frames/s
_BOTH_SIDED = _Waits(0.39, 0.79)  # every 12th to 24th, a little less since no frame falls exactly there


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
    spacing: Spacing = field(default_factory=Spacing)

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
        inference = self.inference_seconds  # once: another thread may be adding to it
        # Decoding and writing have threads of their own, all other stages share one.
        busiest = max(inference, *(self.stage_seconds.get(stage, 0.0) for stage in ("decode", "write")))
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
            overhead=seconds / busiest if inference else None,
            interrupted=self.interrupted,
            warnings=(*self.warnings, *self.spacing.warnings()),
            error=self.error,
            lost_sinks=self.lost_sinks,
        )


class _Looks(NamedTuple):
    """How often a track was looked at, and when last."""

    views: int
    number: int
    seconds: float


class StreamState:
    """What is remembered of one stream from frame to frame.

    Args:
        stream: what is known of it.
        stages: what is done to its frames.
        counters: its statistics.
        happened: to its source, filled by whoever reads that.
        recorded: its frames can wait for later ones, so that what is between two detections is looked at from both sides.
    """

    def __init__(
        self,
        stream: StreamInfo,
        stages: Stages,
        counters: Counters,
        happened: deque[Event] | None = None,
        *,
        recorded: bool = False,
    ) -> None:
        self.stream = stream
        self.counters = counters
        self.recorded = recorded
        """Whether its frames can wait for later ones."""
        self._happened = deque() if happened is None else happened
        self.tracker = stages.make_tracker() if stages.make_tracker else None
        self.aggregators = [TrackAggregator(classifier.columns) for classifier in stages.classifiers]
        self.analyzers = [make() for make in stages.make_analyzers]
        self.last = Detections.empty()
        """What was found in the last frame that was really looked at, without attributes."""
        self.last_seconds = 0.0
        """The time of that frame."""
        self._glance: NDArray[np.float32] | None = None
        self._frames = 0
        self._detected: tuple[int, float] | None = None  # number and seconds of the last frame that was to be detected on
        refines = self.tracker is not None and keeps(stages.detector, Refiner)
        follows = self.tracker is not None and (stages.detect_every is not None or refines)
        self._detect_every = stages.detect_every if follows else 1
        self.looks_ahead = recorded and refines and self._detect_every != 1
        """Whether frames wait for the next one that is detected on."""
        self._waits = _BOTH_SIDED if self.looks_ahead else _ONE_SIDED
        self._detect_seconds = self._waits.least
        self._looks: dict[int, _Looks] = {}  # by track
        self._classify_every = stages.classify_every

    def next_frame(self, seconds: float) -> tuple[int, bool]:
        """Count a frame: return its place among the processed ones, and whether it is one to detect on.

        Args:
            seconds: the frame's time.
        """
        number, due = self._frames, self.is_due(seconds)
        self._frames += 1
        if due:
            self.detects_on(number, seconds)
        return number, due

    def is_due(self, seconds: float, *, before: int = 0) -> bool:
        """Say whether a frame that is to come is one to detect on.

        Args:
            seconds: the frame's time.
            before: how many come before it.
        """
        if self._detected is None:
            return True
        if self._detect_every is not None:
            return self._frames + before - self._detected[0] >= self._detect_every
        return not 0 <= seconds - self._detected[1] < self._detect_seconds

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
        self._detect_seconds = self._waits.least
        return self._detected is None or not 0 <= seconds - self._detected[1] < self._waits.least

    def take_in_found(self, *, new: bool) -> None:
        """Plan the next detection: it may wait longer where the last one found nothing new."""
        self._detect_seconds = self._waits.least if new else min(self._detect_seconds * _LONGER, self._waits.most)

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
        if looks.views < _FIRST_VIEWS:
            return not 0 <= seconds - looks.seconds < _FIRST_WAIT_SECONDS
        return self._classify_every is None and not 0 <= seconds - looks.seconds < _REVIEW_SECONDS
