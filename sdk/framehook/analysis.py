"""What happens to a batch of frames: detect or refine, track, classify, analyze. No threads here."""

import logging
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias

from framehook import returned
from framehook.contracts import Analyzer
from framehook.detections import Detections
from framehook.errors import StageError
from framehook.following import Following
from framehook.frame import Frame
from framehook.hindsight import Hindsight
from framehook.results import FrameResult
from framehook.stages import Stages
from framehook.steps import CallError, Item, Step, ask, attempt
from framehook.stream_state import StreamState

log = logging.getLogger("framehook")

Done: TypeAlias = tuple[list[tuple[StreamState, FrameResult]], StageError | None]
"""The results that are known by now, each stream's in order, and why there will be no more."""


class Analysis:
    """The stages at work, over batches that may hold frames of several streams."""

    def __init__(self, stages: Stages) -> None:
        self._classifiers = stages.classifiers
        self._ask = partial(ask, stages)
        self._following = Following(stages)
        self._slow: set[str] = set()  # plugins that fail on batches
        self._hindsight: dict[StreamState, Hindsight] = {}
        self._columns = [column for classifier in stages.classifiers for column in classifier.columns]
        self._after = [Step(self._select, batched=False)]
        for index in range(len(stages.classifiers)):
            self._after += [
                Step(partial(self._classify, index), batched=True),
                Step(partial(self._report, index), batched=False),
            ]

    def process(self, batch: Sequence[tuple[StreamState, Frame]]) -> Done:
        """Take a batch through all stages.

        Frames of recordings may be done later, in another batch or at the end of their stream. Where a plugin raised, those
        before it are done now.
        """
        items = [Item(state, frame, i, *state.next_frame(frame.seconds)) for i, (state, frame) in enumerate(batch)]
        for item in items:
            item.events = item.state.events_until(item.frame.seconds)
        for item in {id(item.state): item for item in items if item.state.looks_ahead}.values():
            item.detect = True  # the last of its stream here: those before it were waiting for it, and it for none
            item.state.detects_on(item.number, item.frame.seconds)
        error: StageError | None = None
        after = ((items, step) for step in self._after)
        for group, step in chain(self._following.rounds(items), after):
            group = [item for item in group if item.place < len(items)]  # what comes after a failure is not delivered
            outcome = attempt(step, group)
            if outcome.of_batch is not None:
                self._tell_of_batch(outcome.of_batch, group)
            if outcome.error is not None:
                error = outcome.error
                items = items[: group[outcome.good].place]
        done = [settled for item in items for settled in self._settled(item)]
        if error is not None:
            done += [item for hindsight in self._hindsight.values() for item in hindsight.rest()]
        return self._done(done, error)

    def finish(self, state: StreamState) -> Done:
        """Take through the last stages what still waits of a stream that has ended."""
        hindsight = self._hindsight.pop(state, None)
        return self._done(hindsight.rest() if hindsight else [], None)

    def _settled(self, item: Item) -> list[Item]:
        """Return the frames about which all is known by now."""
        state = item.state
        if not state.recorded or state.tracker is None:
            return [item]
        if state not in self._hindsight:
            self._hindsight[state] = Hindsight(state.stream, self._columns)
        return self._hindsight[state].take(item)

    def _done(self, items: list[Item], error: StageError | None) -> Done:
        outcome = attempt(Step(self._analyze, batched=False), items)
        items = items[: outcome.good]
        for item in items:
            item.state.counters.count(item.detections)
        return [(item.state, item.result()) for item in items], outcome.error or error

    def _tell_of_batch(self, failure: CallError, items: list[Item]) -> None:
        """Say once that a plugin fails on batches: it takes twice the time, and nobody would know why."""
        plugin, cause = str(failure), failure.__cause__
        if plugin in self._slow or failure.frames == 1:
            return
        self._slow.add(plugin)
        why = f"{type(cause).__name__}: {cause}"
        warning = (
            f"plugin '{plugin}' failed on {failure.frames} frames at once ({why}), and not frame by frame: choose a smaller batch"
        )
        log.warning("%s", warning)
        for counters in {id(item.state): item.state.counters for item in items}.values():
            counters.warnings.append(warning)

    def _select(self, items: list[Item]) -> None:
        for item in items:
            if self._following.really_looked_at(item):
                item.rows = item.state.to_classify(item.detections, item.number, item.frame.seconds)

    def _classify(self, index: int, items: list[Item]) -> None:
        for item in items:
            item.views = item.detections[item.rows].without_attributes("quality")  # a detector's weighs no classifier's view
        due = [item for item in items if len(item.rows)]
        if not due:
            return
        classifier = self._classifiers[index]
        frames, views = [item.frame for item in due], [item.views for item in due]

        def classify() -> list[Detections]:
            found = returned.one_each(classifier.classify(frames, views), frames=len(frames))
            kept = map(returned.same_tracks, found, views)
            return [returned.with_columns(classified, classifier.columns) for classified in kept]

        for item, classified in zip(due, self._ask(classifier, "classify", due, classify), strict=True):
            item.views = classified

    def _report(self, index: int, items: list[Item]) -> None:
        for item in items:
            report = partial(item.state.aggregators[index].report, item.detections, item.views, item.rows, item.frame.seconds)
            item.detections = self._ask(self._classifiers[index], "classify", [item], report)

    def _analyze(self, items: list[Item]) -> None:
        for item in items:
            for analyzer in item.state.analyzers:
                after = self._ask(analyzer, "analyze", [item], partial(_analyzed, analyzer, item.result()))
                item.detections, item.events = after.detections, after.events


def _analyzed(analyzer: Analyzer, before: FrameResult) -> FrameResult:
    return returned.result(analyzer.analyze(before))
