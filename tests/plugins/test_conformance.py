"""The built-in plugins pass what `framehook.testing` asks of a stranger's, and what breaks a contract does not."""

import numpy as np
import pytest

from framehook import Column, Detections
from framehook.testing import ClassifierConformance, DetectorConformance, OrderTracker, RefinerConformance, TrackerConformance
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.trackers.iou import IouTracker


class TestMtcnn(DetectorConformance, RefinerConformance):
    def make(self):
        return MtcnnDetector(device="cpu")


class TestIou(TrackerConformance):
    def make(self):
        return IouTracker()


class Forgetful:
    def detect(self, frames):
        return [Detections.empty()] * max(len(frames) - 1, 0)


def test_a_detector_that_drops_a_frame_does_not_conform():
    class Conformance(DetectorConformance):
        def make(self):
            return Forgetful()

    with pytest.raises(AssertionError):
        Conformance().test_it_returns_one_result_for_each_frame()


def test_a_refiner_that_finds_what_was_not_there_does_not_conform():
    class Inventive:
        def refine(self, frames, near):
            return [Detections(boxes=[[0, 0, 8, 8]])] * len(frames)

    class Conformance(RefinerConformance):
        def make(self):
            return Inventive()

    with pytest.raises(AssertionError):
        Conformance().test_it_returns_of_each_frame_some_of_what_was_there()


def test_a_tracker_that_uses_an_id_twice_does_not_conform():
    class Conformance(TrackerConformance):
        def make(self):
            return OrderTracker()

    with pytest.raises(AssertionError):
        Conformance().test_ids_rise()


def conformance(base, plugin):
    class Conformance(base):
        def make(self):
            return plugin

    return Conformance()


class Finding:
    """A detector that finds one thing in every frame; `say` gets the frames and returns the fields of `Detections`."""

    def __init__(self, say):
        self.say = say

    def detect(self, frames):
        return [Detections(**{"boxes": [[0, 0, 9, 9]], **self.say(frames)}) for _ in frames]


@pytest.mark.parametrize(
    "say",
    [
        lambda frames: {"scores": [1 / len(frames)]},
        lambda frames: {"labels": [len(frames) // 2], "names": ("cat", "dog")},
        lambda frames: {"attributes": {"landmarks": np.full((1, 5, 2), len(frames))}},
        lambda frames: {"attributes": {"kind": ["alone" if len(frames) == 1 else "in company"]}},
    ],
    ids=["scores", "labels", "landmarks", "words"],
)
def test_a_detector_whose_answers_depend_on_the_batch_does_not_conform(say):
    with pytest.raises(AssertionError):
        conformance(DetectorConformance, Finding(say)).test_a_batch_says_what_its_frames_say_alone()


@pytest.mark.parametrize(
    "fields",
    [{"boxes": [[0, 0, np.nan, 9]]}, {"boxes": [[0, 0, np.inf, 9]]}, {"scores": [7]}, {"scores": [np.nan]}],
    ids=["edge missing", "edge infinite", "score of 7", "score missing"],
)
def test_a_detector_of_impossible_boxes_or_scores_does_not_conform(fields):
    with pytest.raises(AssertionError):
        conformance(DetectorConformance, Finding(lambda frames: fields)).test_boxes_are_finite_and_scores_lie_between_0_and_1()


class Picky(OrderTracker):
    def update(self, frame, detections):
        assert detections.boxes.max() >= 0, "no maximum of nothing"
        return super().update(frame, detections)


class Losing(OrderTracker):
    def __init__(self, lost):
        self.lost = lost

    def update(self, frame, detections):
        kept = {
            name: getattr(detections, name) for name in ("boxes", "scores", "labels", "names", "attributes") if name != self.lost
        }
        return Detections(**kept).with_tracks(np.arange(1, len(detections) + 1))


@pytest.mark.parametrize(
    "tracker",
    [Picky(), Losing("scores"), Losing("labels"), Losing("attributes")],
    ids=["fails", "scores", "labels", "attributes"],
)
def test_a_tracker_that_fails_on_nothing_or_loses_something_does_not_conform(tracker):
    with pytest.raises((AssertionError, ValueError)):
        conformance(TrackerConformance, tracker).test_it_returns_the_same_detections_in_the_same_order()


class Saying:
    def __init__(self, say, *columns):
        self.say = say
        self.columns = columns

    def classify(self, frames, detections):
        return [self.say(found) for found in detections]


MOOD = Column(name="mood", aggregate="vote", categories=("calm", "angry"))
SURE_MOOD = Column(name="mood", aggregate="vote", of="mood_score", categories=("calm", "angry"))
LEVEL = Column(name="level", aggregate="mean")


def level(found, **fields):
    """The detections anew with a level, but for what is not given."""
    return Detections(**{"boxes": found.boxes, "attributes": {**found.attributes, "level": np.ones(len(found))}, **fields})


@pytest.mark.parametrize(
    "classifier",
    [
        Saying(lambda found: found.with_attributes(mood=np.full(len(found), "glad")), MOOD),
        Saying(lambda found: found.with_attributes(mood=np.full(len(found), "calm")), SURE_MOOD),
        Saying(lambda found: found.with_attributes(level=np.ones((len(found), 1))), LEVEL),
        Saying(lambda found: found.with_attributes(level=np.full(len(found), "x")), LEVEL),
        Saying(lambda found: found.with_attributes(level=np.ones(len(found)), quality=np.full(len(found), 9)), LEVEL),
        Saying(lambda found: level(found, scores=found.scores, labels=found.labels, names=found.names), LEVEL),
        Saying(lambda found: level(found, tracks=found.tracks, labels=found.labels, names=found.names), LEVEL),
        Saying(lambda found: level(found, tracks=found.tracks, scores=found.scores), LEVEL),
        Saying(lambda found: found.without_attributes("mark").with_attributes(level=np.ones(len(found))), LEVEL),
        Saying(lambda found: found[::-1].with_attributes(level=np.ones(len(found))), LEVEL),
    ],
    ids=["word", "no score", "shape", "type", "quality", "tracks", "scores", "labels", "attributes", "order"],
)
def test_a_classifier_that_says_what_it_cannot_or_loses_something_does_not_conform(classifier):
    with pytest.raises((AssertionError, ValueError)):
        conformance(ClassifierConformance, classifier).test_it_adds_its_columns_to_the_same_detections()


def test_a_classifier_that_adds_what_it_declares_conforms():
    kind = Saying(
        lambda found: found.with_attributes(mood=np.full(len(found), "calm"), mood_score=np.ones(len(found))), SURE_MOOD
    )
    conformance(ClassifierConformance, kind).test_it_adds_its_columns_to_the_same_detections()
