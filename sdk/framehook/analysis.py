"""What happens to a batch of frames: detect or refine, track, classify, analyze. No threads here."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from framehook import returned
from framehook.contracts import Analyzer, Refiner, Tracker
from framehook.detections import NO_TRACK, Detections
from framehook.errors import FramehookError, StageError
from framehook.frame import Frame
from framehook.results import Event, FrameResult
from framehook.stages import Stages
from framehook.stream_state import StreamState


@dataclass(slots=True)
class _Item:
    """One frame on its way through the stages."""

    state: StreamState
    frame: Frame
    place: int
    """In the batch."""
    number: int
    """Among the stream's processed frames."""
    detect: bool
    """Whether it is detected on."""
    lost: bool = False
    """Whether what is known is no longer there."""
    near: Detections = field(default_factory=Detections.empty)
    """What is to be found again."""
    detections: Detections = field(default_factory=Detections.empty)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    views: Detections = field(default_factory=Detections.empty)
    events: tuple[Event, ...] = ()


class _Step(NamedTuple):
    """One thing that is done to frames."""

    do: Callable[[list[_Item]], None]
    batched: bool
    """Whether it takes frames together, and may be asked again about one of them where it fails."""


_Result = TypeVar("_Result")


class _PluginError(Exception):
    """Carries the name of the plugin; what it raised is the cause."""


class Analysis:
    """The stages at work, over batches that may hold frames of several streams."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._refiner = stages.detector if isinstance(stages.detector, Refiner) else None
        self._before = [_Step(self._detect, batched=True)]
        self._in_turn = [
            _Step(self._expect, batched=False),
            _Step(self._find_again, batched=True),
            _Step(self._detect_at_once, batched=True),
            _Step(self._track, batched=False),
        ]
        self._after = [_Step(self._select, batched=False)]
        for index in range(len(stages.classifiers)):
            self._after += [
                _Step(partial(self._classify, index), batched=True),
                _Step(partial(self._report, index), batched=False),
            ]
        self._after.append(_Step(self._analyze, batched=False))

    def process(self, batch: Sequence[tuple[StreamState, Frame]]) -> tuple[list[FrameResult], StageError | None]:
        """Take a batch through all stages.

        Returns:
            The results in the order of the batch; where a plugin raised, those of the frames before it, and the error.
        """
        items = [_Item(state, frame, i, *state.next_frame(frame.seconds)) for i, (state, frame) in enumerate(batch)]
        error: StageError | None = None
        for group, steps in [(items, self._before), *((turn, self._in_turn) for turn in _turns(items)), (items, self._after)]:
            for step in steps:
                group = [item for item in group if item.place < len(items)]  # what comes after a failure is not delivered
                done, raised = _attempt(step, group)
                if raised is not None:
                    error = _stage_error(group[done], raised)
                    items = items[: group[done].place]
        for item in items:
            item.state.counters.count(item.detections)
        return [FrameResult(frame=i.frame, detections=i.detections, events=i.events) for i in items], error

    def _detect(self, items: list[_Item]) -> None:
        due = [item for item in items if item.detect]
        if not due:
            return
        detector, frames = self._stages.detector, [item.frame for item in due]
        found = self._ask(detector, "detect", due, lambda: returned.one_each(detector.detect(frames), frames=len(frames)))
        for item, detections in zip(due, found, strict=True):
            item.detections = detections

    def _expect(self, items: list[_Item]) -> None:
        """Say what should be in a frame that is not detected on, and whether the picture is another one."""
        for item in items:
            if (tracker := item.state.tracker) is None:
                continue
            if not item.detect:
                item.near = self._known(tracker, item)
                item.detections = item.near[[]] if self._refiner else item.near
            if self._refiner and (item.detect or len(item.near)):
                item.lost = item.state.shows_another_scene(item.frame.image) and not item.detect

    def _known(self, tracker: Tracker, item: _Item) -> Detections:
        last = item.state.last
        expected = self._ask(tracker, "track", [item], lambda: returned.detections(tracker.predict(item.frame)))
        expected = expected.without_attributes(*expected.attributes)
        if self._refiner is None:
            return expected[np.isin(expected.tracks, last.tracks)]  # nobody has seen the others, so they are not reported
        candidates = last[last.tracks == NO_TRACK]  # too new to be expected
        if len(expected) and expected.names != last.names:
            candidates = candidates[[]]
        known = [some for some in (expected, candidates) if len(some)]
        return Detections.concatenate(known) if known else last[[]]

    def _find_again(self, items: list[_Item]) -> None:
        refiner = self._refiner
        due = [item for item in items if len(item.near) and not item.lost]
        if refiner is None or not due:
            return
        frames, near = [item.frame for item in due], [item.near for item in due]
        found = self._ask(refiner, "refine", due, lambda: returned.one_each(refiner.refine(frames, near), frames=len(frames)))
        for item, refined in zip(due, found, strict=True):
            item.detections = refined
            # A tracker also expects those it has lost from sight; these need not be there.
            seen = item.near.tracks[np.isin(item.near.tracks, item.state.last.tracks)]
            gone = Counter(seen.tolist()) - Counter(refined.tracks.tolist())  # those too new for a track are all -1
            if gone:  # where others are seen, a detection right after another one did not raise recall
                item.lost = item.state.detects_early(item.frame.seconds) or not len(refined)

    def _detect_at_once(self, items: list[_Item]) -> None:
        """Detect where a face was lost, which may have turned away, or where the picture is another one."""
        lost = [item for item in items if item.lost]
        for item in lost:
            item.detect = True
            item.state.detects_on(item.number, item.frame.seconds)
        self._detect(lost)

    def _track(self, items: list[_Item]) -> None:
        for item in items:
            if (tracker := item.state.tracker) is not None and (item.detect or self._refiner):
                item.detections = self._ask(tracker, "track", [item], partial(_tracked, tracker, item))
                if item.detect:
                    item.state.take_in_found(item.detections)
                item.state.last = item.detections.without_attributes(*item.detections.attributes)

    def _select(self, items: list[_Item]) -> None:
        for item in items:
            if item.detect or self._refiner:  # a predicted box is no view of anything
                item.rows = item.state.to_classify(item.detections, item.number, item.frame.seconds)

    def _classify(self, index: int, items: list[_Item]) -> None:
        for item in items:
            item.views = item.detections[item.rows].without_attributes("quality")  # a detector's weighs no classifier's view
        due = [item for item in items if len(item.rows)]
        if not due:
            return
        classifier = self._stages.classifiers[index]
        frames, views = [item.frame for item in due], [item.views for item in due]

        def classify() -> list[Detections]:
            found = returned.one_each(classifier.classify(frames, views), frames=len(frames))
            kept = map(returned.same_tracks, found, views)
            return [returned.with_columns(classified, classifier.columns) for classified in kept]

        for item, classified in zip(due, self._ask(classifier, "classify", due, classify), strict=True):
            item.views = classified

    def _report(self, index: int, items: list[_Item]) -> None:
        for item in items:
            report = partial(item.state.aggregators[index].report, item.detections, item.views, item.rows, item.frame.seconds)
            item.detections = self._ask(self._stages.classifiers[index], "classify", [item], report)

    def _analyze(self, items: list[_Item]) -> None:
        for item in items:
            for analyzer in item.state.analyzers:
                before = FrameResult(frame=item.frame, detections=item.detections, events=item.events)
                after = self._ask(analyzer, "analyze", [item], partial(_analyzed, analyzer, before))
                item.detections, item.events = after.detections, after.events

    def _ask(self, plugin: object, stage: str, items: list[_Item], call: Callable[[], _Result]) -> _Result:
        """Call into a plugin, on the clock of the streams whose frames it works on; what it returns wrongly is its failure."""
        start = time.perf_counter()
        try:
            return call()
        except Exception as error:
            raise _PluginError(self._stages.name(plugin)) from error
        finally:
            share = (time.perf_counter() - start) / len(items)
            for item in items:
                item.state.counters.spend(stage, share)


def _tracked(tracker: Tracker, item: _Item) -> Detections:
    return returned.same_rows(tracker.update(item.frame, item.detections), item.detections)


def _analyzed(analyzer: Analyzer, before: FrameResult) -> FrameResult:
    return returned.result(analyzer.analyze(before))


def _turns(items: list[_Item]) -> list[list[_Item]]:
    """Return the first frames of all streams, then the second, and so on: following one frame needs the one before."""
    turns: list[list[_Item]] = []
    taken: Counter[int] = Counter()
    for item in items:
        turn = taken[id(item.state)]
        if turn == len(turns):
            turns.append([])
        turns[turn].append(item)
        taken[id(item.state)] += 1
    return turns


def _attempt(step: _Step, items: list[_Item]) -> tuple[int, _PluginError | None]:
    """Run a step, frame by frame where it keeps state, or to find which frame of a batch a plugin raised on.

    Returns:
        How many items are good, and what was raised for the next one.
    """
    if step.batched:
        try:
            step.do(items)
            return len(items), None
        except _PluginError as raised:
            if len(items) == 1:
                return 0, raised
    for i, item in enumerate(items):
        try:
            step.do([item])
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
