"""What happens to a batch of frames: detect or refine, track, classify, analyze. No threads here."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from framehook.aggregate import TrackAggregator
from framehook.contracts import Analyzer, Classifier, Detector, Refiner, Tracker
from framehook.detections import NO_TRACK, Detections
from framehook.errors import FramehookError, StageError
from framehook.frame import Frame, Image, StreamInfo
from framehook.results import Event, FrameResult, StreamStatistics

_FIRST_VIEWS = 5  # a new track is looked at this often in a row, so that its first reports are steady
_REVIEWS_PER_SECOND = 2.0  # and then so often
_FRAMES_BETWEEN_REVIEWS = 10  # where the frame rate is unknown
_FORGET_FRAMES = 20_000
_GLANCE_SIDE = 16  # pixels across and down that two pictures are compared by
_CUT = 30.0  # mean difference of these, of 255 and without their means: on real clips moving cameras stay below 13, a cut has 70
_DETECT_SECONDS = 0.15  # between detections where a refiner follows: every 5th frame at 30 frames/s, every 4th at 25


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
            overhead=seconds / busiest if busiest else None,
            interrupted=self.interrupted,
            warnings=tuple(self.warnings),
            error=self.error,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The objects that do the work, and how often they are asked."""

    detector: Detector
    """Shared by all streams."""
    make_tracker: Callable[[], Tracker] | None
    """Called once for each stream; None leaves tracks at -1."""
    classifiers: Sequence[Classifier]
    """Shared by all streams."""
    make_analyzers: Sequence[Callable[[], Analyzer]]
    """Each called once for each stream."""
    names: Mapping[type, str]
    """What to call the objects of each class in messages."""
    detect_every: int | None = 1
    """Detect on every n-th frame, and follow in between; None chooses by the frames' times where the detector is a `Refiner`."""
    classify_every: int | None = None
    """Frames between two looks at a track that is known; None chooses from the frame rate."""

    def name(self, stage: object) -> str:
        """Return what to call a stage in messages."""
        return self.names.get(type(stage), type(stage).__name__)


class StreamState:
    """What is remembered of one stream from frame to frame."""

    def __init__(self, stream: StreamInfo, stages: Stages, counters: Counters) -> None:
        self.stream = stream
        self.counters = counters
        self.tracker = stages.make_tracker() if stages.make_tracker else None
        self.aggregators = [TrackAggregator(classifier.columns) for classifier in stages.classifiers]
        self.analyzers = [make() for make in stages.make_analyzers]
        self.last = Detections.empty()
        """What was found in the last frame that was really looked at, without attributes."""
        self._glance: NDArray[np.float32] | None = None
        self._frames = 0
        self._detected: tuple[int, float] | None = None  # number and seconds of the last frame that was to be detected on
        follows = self.tracker is not None and (stages.detect_every is not None or isinstance(stages.detector, Refiner))
        self._detect_every = stages.detect_every if follows else 1
        self._looks: dict[int, tuple[int, int]] = {}  # track -> how often it was looked at, and when last
        rate = stream.rate or 0
        between = round(float(rate) / _REVIEWS_PER_SECOND) if rate else _FRAMES_BETWEEN_REVIEWS
        self._classify_every = stages.classify_every or max(1, between)

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
            due = not 0 <= seconds - self._detected[1] < _DETECT_SECONDS
        if due:
            self.detects_on(number, seconds)
        return number, due

    def detects_on(self, number: int, seconds: float) -> None:
        """Note that a frame is detected on, be it due or not; a later one of its batch may have been due already."""
        if self._detected is None or number > self._detected[0]:
            self._detected = number, seconds

    def shows_another_scene(self, image: Image) -> bool:
        """Take in a picture that is looked at: say whether it has little to do with the one before."""
        rows, columns = (max(side // _GLANCE_SIDE, 1) for side in image.shape[:2])
        glance = image[rows // 2 :: rows, columns // 2 :: columns].astype(np.float32)
        glance -= glance.mean()  # a flash is no cut
        before, self._glance = self._glance, glance
        return before is not None and float(np.abs(glance - before).mean()) > _CUT

    def to_classify(self, detections: Detections, number: int) -> NDArray[np.int64]:
        """Return the rows that want a look: new tracks, those not looked at for some time, and all without a track.

        Args:
            detections: a frame's, tracked.
            number: the frame's place among the processed ones.
        """
        rows = []
        for row, track in enumerate(detections.tracks.tolist()):
            looks, last = self._looks.get(track, (0, 0))
            if track == NO_TRACK or looks < _FIRST_VIEWS or number - last >= self._classify_every:
                rows.append(row)
                if track != NO_TRACK:
                    self._looks[track] = (looks + 1, number)
        if len(self._looks) > 1000:  # bounded however long the stream
            self._looks = {t: look for t, look in self._looks.items() if number - look[1] < _FORGET_FRAMES}
        return np.array(rows, dtype=np.int64)


@dataclass(slots=True)
class _Item:
    """One frame on its way through the stages."""

    state: StreamState
    frame: Frame
    number: int
    detect: bool
    detections: Detections = field(default_factory=Detections.empty)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    views: Detections = field(default_factory=Detections.empty)
    events: tuple[Event, ...] = ()


_Step: TypeAlias = Callable[[list[_Item]], None]
_Result = TypeVar("_Result")


class _PluginError(Exception):
    """Carries the name of the plugin; what it raised is the cause."""


class Analysis:
    """The stages at work, over batches that may hold frames of several streams."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        steps: list[tuple[_Step, bool]] = [(self._detect, True), (self._track, False), (self._select, False)]
        for index in range(len(stages.classifiers)):
            steps += [(partial(self._classify, index), True), (partial(self._report, index), False)]
        self._steps = [*steps, (self._analyze, False)]

    def process(self, batch: Sequence[tuple[StreamState, Frame]]) -> tuple[list[FrameResult], StageError | None]:
        """Take a batch through all stages.

        Returns:
            The results in the order of the batch; where a plugin raised, those of the frames before it, and the error.
        """
        items = [_Item(state, frame, *state.next_frame(frame.seconds)) for state, frame in batch]
        error: StageError | None = None
        for step, batched in self._steps:
            done, raised = _attempt(step, items, batched=batched)
            if raised is not None:
                error = _stage_error(items[done], raised)
                items = items[:done]
        for item in items:
            item.state.counters.count(item.detections)
        return [FrameResult(frame=i.frame, detections=i.detections, events=i.events) for i in items], error

    def _detect(self, items: list[_Item]) -> None:
        due = [item for item in items if item.detect]
        if not due:
            return
        detector = self._stages.detector
        found = self._ask(detector, "detect", due, lambda: detector.detect([item.frame for item in due]))
        for item, detections in zip(due, self._one_each(detector, found, due), strict=True):
            item.detections = detections

    def _track(self, items: list[_Item]) -> None:
        for item in items:
            if (tracker := item.state.tracker) is None:
                continue
            if not item.detect:
                item.detections = self._follow(tracker, item)
            elif isinstance(self._stages.detector, Refiner):
                item.state.shows_another_scene(item.frame.image)
            if item.detect or isinstance(self._stages.detector, Refiner):
                tracked = self._ask(tracker, "track", [item], partial(tracker.update, item.frame, item.detections))
                item.detections = self._same_rows(tracker, tracked, item.detections)
                item.state.last = item.detections.without_attributes(*item.detections.attributes)

    def _follow(self, tracker: Tracker, item: _Item) -> Detections:
        """Say where the known tracks are in a frame that is not detected on."""
        last = item.state.last
        expected = self._ask(tracker, "track", [item], partial(tracker.predict, item.frame))
        expected = expected.without_attributes(*expected.attributes)
        # A tracker also expects those it has lost from sight.
        seen = np.isin(expected.tracks, last.tracks)
        if not isinstance(refiner := self._stages.detector, Refiner):
            return expected[seen]  # nobody has seen the others, so they are not reported
        candidates = last[last.tracks == NO_TRACK]  # too new to be expected
        if len(expected) and expected.names != last.names:
            candidates = candidates[[]]
        near = Detections.concatenate([some for some in (expected, candidates) if len(some)])
        if not len(near):
            return last[[]]
        if not item.state.shows_another_scene(item.frame.image):
            found = self._ask(refiner, "refine", [item], lambda: refiner.refine([item.frame], [near]))
            refined = self._one_each(refiner, found, [item])[0]
            if np.isin(expected.tracks[seen], refined.tracks).all():
                return refined
        item.detect = True  # after a cut, or when a face was lost
        item.state.detects_on(item.number, item.frame.seconds)
        self._detect([item])
        return item.detections

    def _select(self, items: list[_Item]) -> None:
        for item in items:
            if item.detect or isinstance(self._stages.detector, Refiner):  # a predicted box is no view of anything
                item.rows = item.state.to_classify(item.detections, item.number)

    def _classify(self, index: int, items: list[_Item]) -> None:
        for item in items:
            item.views = item.detections[item.rows]
        due = [item for item in items if len(item.rows)]
        if not due:
            return
        classifier = self._stages.classifiers[index]
        frames, views = [item.frame for item in due], [item.views for item in due]
        found = self._ask(classifier, "classify", due, lambda: classifier.classify(frames, views))
        for item, classified in zip(due, self._one_each(classifier, found, due), strict=True):
            item.views = self._same_rows(classifier, classified, item.views)
            missing = [column.name for column in classifier.columns if column.name not in classified.attributes]
            if missing:
                raise self._blame(classifier, f"declared the columns {missing} and did not add them")

    def _report(self, index: int, items: list[_Item]) -> None:
        for item in items:
            aggregator = item.state.aggregators[index]
            item.detections = aggregator.report(item.detections, item.views, item.rows, item.frame.seconds)

    def _analyze(self, items: list[_Item]) -> None:
        for item in items:
            for analyzer in item.state.analyzers:
                before = FrameResult(frame=item.frame, detections=item.detections, events=item.events)
                after = self._ask(analyzer, "analyze", [item], partial(analyzer.analyze, before))
                item.detections, item.events = after.detections, after.events

    def _ask(self, plugin: object, stage: str, items: list[_Item], call: Callable[[], _Result]) -> _Result:
        """Call into a plugin, on the clock of the streams whose frames it works on."""
        start = time.perf_counter()
        try:
            return call()
        except Exception as error:
            raise _PluginError(self._stages.name(plugin)) from error
        finally:
            share = (time.perf_counter() - start) / len(items)
            for item in items:
                item.state.counters.spend(stage, share)

    def _one_each(self, plugin: object, found: Sequence[Detections], items: list[_Item]) -> Sequence[Detections]:
        if len(found) != len(items):
            raise self._blame(plugin, f"returned {len(found)} results for {len(items)} frames, wanted one for each, in order")
        return found

    def _same_rows(self, plugin: object, after: Detections, before: Detections) -> Detections:
        if len(after) != len(before):
            raise self._blame(plugin, f"returned {len(after)} detections for {len(before)}, wanted the same in the same order")
        return after

    def _blame(self, plugin: object, what: str) -> _PluginError:
        raised = _PluginError(self._stages.name(plugin))
        raised.__cause__ = ValueError(what)
        return raised


def _attempt(step: _Step, items: list[_Item], *, batched: bool) -> tuple[int, _PluginError | None]:
    """Run a step, frame by frame where it keeps state, or to find which frame of a batch a plugin raised on.

    Returns:
        How many items are good, and what was raised for the next one.
    """
    if batched:
        try:
            step(items)
            return len(items), None
        except _PluginError as raised:
            if len(items) == 1:
                return 0, raised
    for i, item in enumerate(items):
        try:
            step([item])
        except _PluginError as raised:
            return i, raised
    return len(items), None


def _stage_error(item: _Item, raised: _PluginError) -> StageError:
    frame, cause = item.frame, raised.__cause__
    where = f"frame {frame.index} ({frame.seconds:.3f} s) of stream '{frame.stream.name}'"
    what = str(cause) if isinstance(cause, FramehookError) else f"{type(cause).__name__}: {cause}"
    error = StageError(f"plugin '{raised}' failed on {where}: {what}")
    error.__cause__ = cause
    return error
