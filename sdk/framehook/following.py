"""What is in each frame: detected now and again, and in between found again, where it should be."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from framehook import geometry, returned
from framehook.contracts import Refiner, Tracker, keeps
from framehook.detections import NO_TRACK, Detections
from framehook.spans import Span, Start, bare
from framehook.stages import Stages
from framehook.steps import Item, Step, ask

_SAME = 0.3  # intersection over union with something in the frame before

Round: TypeAlias = tuple[list[Item], Step]
"""Frames, and the step that they take together."""


class Following:
    """The detector and the trackers at work.

    Frames before one that is detected on are looked at from both sides (`spans.py`). Those after the last one of their batch,
    as in a live stream, are followed one by one: each face is looked for where the tracker expects it.
    """

    def __init__(self, stages: Stages) -> None:
        self._detector = stages.detector
        self._refiner = stages.detector if keeps(stages.detector, Refiner) else None
        self._ask = partial(ask, stages)
        self._both_sides = self._refiner is not None and stages.make_tracker is not None
        self._in_turn = [
            Step(self._expect, batched=False),
            Step(self._find_expected, batched=True),
            Step(self._detect_lost, batched=True),
            Step(self._track, batched=False),
        ]

    def rounds(self, items: list[Item]) -> Iterator[Round]:
        """Yield what is to be done to a batch, one thing after another, until each frame holds what is in it.

        Each has to be done before the next one is asked for.
        """
        yield [item for item in items if item.detect], Step(self._detect, batched=True)
        enclosed, others = _parted(items) if self._both_sides else ([], items)
        yield from self._between(enclosed)
        yield enclosed, Step(self._track, batched=False)
        for turn in _turns(others):
            yield from ((turn, step) for step in self._in_turn)

    def really_looked_at(self, item: Item) -> bool:
        """Say whether its boxes were found in the picture itself: a predicted one is no view of anything."""
        return item.detect or self._refiner is not None

    def _between(self, items: list[Item]) -> Iterator[Round]:
        """Look for the faces of the frames that are detected on in those before, and detect where one is lost."""
        yield _first_between(items), Step(self._remember, batched=False)
        spans = _spans(items)
        looked_at = [item for span in spans for item in ([] if span.empty else span.items) + [span.end]]
        yield looked_at, Step(self._glance, batched=False)
        if any(item.cut for item in items):
            yield [item for item in items if item.cut and not item.detect], Step(self._detect_early, batched=True)
            spans = _spans(items)
        for span in spans:
            span.end.state.take_in_found(new=span.new)
        while spans:  # those of all streams together, for batches pay
            yield [item for span in spans for item in span.ask()], Step(self._find, batched=True)
            for span in spans:
                span.take()
            torn = [span for span in spans if span.lost and span.worth_a_detection]
            yield [span.middle for span in torn], Step(self._detect_early, batched=True)
            for span in spans:
                if span.done and span not in torn:
                    span.settle()
            spans = [span for span in spans if not span.done and span not in torn]
            for span in torn:
                span.end.state.take_in_found(new=True)
                spans += span.parted()

    def _detect(self, items: list[Item]) -> None:
        if not items:
            return
        frames = [item.frame for item in items]
        found = self._ask(
            self._detector, "detect", items, lambda: returned.one_each(self._detector.detect(frames), frames=len(frames))
        )
        for item, detections in zip(items, found, strict=True):
            item.detections = detections

    def _detect_early(self, items: list[Item]) -> None:
        """Detect where a face was lost, which may have turned away, or where the picture is another one."""
        for item in items:
            item.detect = True
            item.state.detects_on(item.number, item.frame.seconds)
        self._detect(items)

    def _remember(self, items: list[Item]) -> None:
        """Say where those should be that were lost from sight before."""
        for item in items:
            if item.state.tracker is not None:
                expected = self._expected(item.state.tracker, item)
                item.near = expected[~np.isin(expected.tracks, item.state.last.tracks)]

    def _glance(self, items: list[Item]) -> None:
        for item in items:
            item.cut = item.state.shows_another_scene(item.frame.image)

    def _expect(self, items: list[Item]) -> None:
        """Say what should be in a frame that is not detected on, and whether the picture is another one."""
        for item in items:
            if (tracker := item.state.tracker) is None:
                continue
            if not item.detect:
                item.near = self._known(tracker, item)
                item.detections = item.near[[]] if self._refiner else item.near
            if self._refiner and (item.detect or len(item.near)):
                self._glance([item])

    def _expected(self, tracker: Tracker, item: Item) -> Detections:
        return bare(self._ask(tracker, "track", [item], lambda: returned.detections(tracker.predict(item.frame))))

    def _known(self, tracker: Tracker, item: Item) -> Detections:
        last, expected = item.state.last, self._expected(tracker, item)
        if self._refiner is None:
            return expected[np.isin(expected.tracks, last.tracks)]  # nobody has seen the others, so they are not reported
        return Detections.concatenate([expected, last[last.tracks == NO_TRACK]])  # those are too new to be expected

    def _find(self, items: list[Item]) -> None:
        """Look for what is near in each frame."""
        refiner = self._refiner
        if refiner is None or not items:
            return
        frames, near = [item.frame for item in items], [item.near for item in items]

        def refine() -> list[Detections]:
            found = returned.one_each(refiner.refine(frames, near), frames=len(frames))
            return list(map(returned.found_again, found, near))

        for item, found in zip(items, self._ask(refiner, "refine", items, refine), strict=True):
            item.detections = found

    def _find_expected(self, items: list[Item]) -> None:
        due = [item for item in items if len(item.near) and not item.cut]
        self._find(due)
        for item in due if self._refiner else ():
            # A tracker also expects those it has lost from sight; these need not be there.
            seen = item.near.tracks[np.isin(item.near.tracks, item.state.last.tracks)]
            gone = Counter(seen.tolist()) - Counter(item.detections.tracks.tolist())  # those too new for a track are all -1
            if gone:  # where others are seen, a detection right after another one did not raise recall
                item.lost = item.state.detects_early(item.frame.seconds) or not len(item.detections)

    def _detect_lost(self, items: list[Item]) -> None:
        lost = [item for item in items if item.lost or (item.cut and not item.detect)]
        self._detect_early(lost)
        for item in lost:
            overlap = geometry.iou(item.detections.boxes, item.state.last.boxes).max(axis=1, initial=0)
            item.state.take_in_found(new=bool((overlap < _SAME).any()))

    def _track(self, items: list[Item]) -> None:
        for item in items:
            if (tracker := item.state.tracker) is not None and self.really_looked_at(item):
                item.detections = self._ask(tracker, "track", [item], partial(_tracked, tracker, item))
                item.state.last = bare(item.detections)
                item.state.last_seconds = item.frame.seconds
                item.state.counters.spacing.take(item.frame.seconds, item.detections)


def _tracked(tracker: Tracker, item: Item) -> Detections:
    return returned.tracked(tracker.update(item.frame, item.detections), item.detections)


def _parted(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Return the frames up to the last of their stream that is detected on, and those after it."""
    last = {id(item.state): item.place for item in items if item.detect}
    enclosed = [item for item in items if item.place <= last.get(id(item.state), -1)]
    return enclosed, [item for item in items if item.place > last.get(id(item.state), -1)]


def _first_between(items: list[Item]) -> list[Item]:
    """Return the first frame of each stream, if it is not detected on."""
    firsts: dict[int, Item] = {}
    for item in items:
        firsts.setdefault(id(item.state), item)
    return [item for item in firsts.values() if not item.detect]


def _spans(items: list[Item]) -> list[Span]:
    """Return the spans that the frames make that are detected on, of each stream."""
    spans: list[Span] = []
    between: defaultdict[int, list[Item]] = defaultdict(list)
    starts: dict[int, Start] = {}
    for item in items:
        state = item.state
        if not item.detect:
            between[id(state)].append(item)
            continue
        inner = between.pop(id(state), [])
        missing = inner[0].near if inner else Detections.empty()
        start = starts.get(id(state), Start(state.last_seconds, state.last, missing))
        spans.append(Span(inner, start=start, end=item))
        starts[id(state)] = Start.at(item)
    return spans


def _turns(items: list[Item]) -> list[list[Item]]:
    """Return the first frames of all streams, then the second, and so on: following one frame needs the one before."""
    turns: list[list[Item]] = []
    taken: Counter[int] = Counter()
    for item in items:
        turn = taken[id(item.state)]
        if turn == len(turns):
            turns.append([])
        turns[turn].append(item)
        taken[id(item.state)] += 1
    return turns
