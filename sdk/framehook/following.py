"""What is in each frame: detected now and again, and in between found again where the tracker expects it."""

from collections import Counter
from functools import partial

import numpy as np

from framehook import returned
from framehook.contracts import Refiner, Tracker, keeps
from framehook.detections import NO_TRACK, Detections
from framehook.stages import Stages
from framehook.steps import Item, Step, ask


class Following:
    """The detector and the trackers at work.

    Attributes:
        before: the steps that whole batches take first.
        in_turn: those that a frame takes once the one before it has taken them all.
    """

    def __init__(self, stages: Stages) -> None:
        self._detector = stages.detector
        self._refiner = stages.detector if keeps(stages.detector, Refiner) else None
        self._ask = partial(ask, stages)
        self.before = [Step(self._detect_due, batched=True)]
        self.in_turn = [
            Step(self._expect, batched=False),
            Step(self._find_again, batched=True),
            Step(self._detect_lost, batched=True),
            Step(self._track, batched=False),
        ]

    def really_looked_at(self, item: Item) -> bool:
        """Say whether its boxes were found in the picture itself: a predicted one is no view of anything."""
        return item.detect or self._refiner is not None

    def _detect_due(self, items: list[Item]) -> None:
        self._detect([item for item in items if item.detect])

    def _detect_lost(self, items: list[Item]) -> None:
        """Detect where a face was lost, which may have turned away, or where the picture is another one."""
        lost = [item for item in items if item.lost]
        for item in lost:
            item.detect = True
            item.state.detects_on(item.number, item.frame.seconds)
        self._detect(lost)

    def _detect(self, items: list[Item]) -> None:
        if not items:
            return
        frames = [item.frame for item in items]
        found = self._ask(
            self._detector, "detect", items, lambda: returned.one_each(self._detector.detect(frames), frames=len(frames))
        )
        for item, detections in zip(items, found, strict=True):
            item.detections = detections

    def _expect(self, items: list[Item]) -> None:
        """Say what should be in a frame that is not detected on, and whether the picture is another one."""
        for item in items:
            if (tracker := item.state.tracker) is None:
                continue
            if not item.detect:
                item.near = self._known(tracker, item)
                item.detections = item.near[[]] if self._refiner else item.near
            if self._refiner and (item.detect or len(item.near)):
                item.lost = item.state.shows_another_scene(item.frame.image) and not item.detect

    def _known(self, tracker: Tracker, item: Item) -> Detections:
        last = item.state.last
        expected = self._ask(tracker, "track", [item], lambda: returned.detections(tracker.predict(item.frame)))
        expected = expected.without_attributes(*expected.attributes)
        if self._refiner is None:
            return expected[np.isin(expected.tracks, last.tracks)]  # nobody has seen the others, so they are not reported
        return Detections.concatenate([expected, last[last.tracks == NO_TRACK]])  # those are too new to be expected

    def _find_again(self, items: list[Item]) -> None:
        refiner = self._refiner
        due = [item for item in items if len(item.near) and not item.lost]
        if refiner is None or not due:
            return
        frames, near = [item.frame for item in due], [item.near for item in due]

        def refine() -> list[Detections]:
            found = returned.one_each(refiner.refine(frames, near), frames=len(frames))
            return list(map(returned.found_again, found, near))

        found = self._ask(refiner, "refine", due, refine)
        for item, refined in zip(due, found, strict=True):
            item.detections = refined
            # A tracker also expects those it has lost from sight; these need not be there.
            seen = item.near.tracks[np.isin(item.near.tracks, item.state.last.tracks)]
            gone = Counter(seen.tolist()) - Counter(refined.tracks.tolist())  # those too new for a track are all -1
            if gone:  # where others are seen, a detection right after another one did not raise recall
                item.lost = item.state.detects_early(item.frame.seconds) or not len(refined)

    def _track(self, items: list[Item]) -> None:
        for item in items:
            if (tracker := item.state.tracker) is not None and self.really_looked_at(item):
                item.detections = self._ask(tracker, "track", [item], partial(_tracked, tracker, item))
                if item.detect:
                    item.state.take_in_found(item.detections)
                item.state.last = item.detections.without_attributes(*item.detections.attributes)


def _tracked(tracker: Tracker, item: Item) -> Detections:
    return returned.tracked(tracker.update(item.frame, item.detections), item.detections)
