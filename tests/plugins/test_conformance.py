"""The built-in plugins pass what `framehook.testing` asks of a stranger's, and what breaks a contract does not."""

import threading
from dataclasses import replace
from itertools import count
from unittest import SkipTest

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image as PillowImage

from framehook import ArraySource, Column, Detections, Event, StreamInfo, UsageError, VideoSource
from framehook.testing import (
    AnalyzerConformance,
    ClassifierConformance,
    DetectorConformance,
    OrderTracker,
    RefinerConformance,
    SinkConformance,
    SourceConformance,
    TrackerConformance,
    grey_image,
    make_frame,
    synthetic_video,
)
from framehook_plugins.agegender.classifier import AgeGenderClassifier
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.sinks.detections_csv import CsvSink
from framehook_plugins.sinks.detections_json import JsonLinesSink, JsonSink
from framehook_plugins.sinks.summary import SummarySink
from framehook_plugins.sinks.tracks_csv import TracksSink
from framehook_plugins.sinks.video import VideoSink
from framehook_plugins.trackers.iou import IouTracker


class TestMtcnn(DetectorConformance, RefinerConformance):
    def make(self):
        return MtcnnDetector(device="cpu")

    def pictures(self):
        return portraits()


def portraits():
    """A woman's portrait, small, large, and twice in one picture; and grey."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file, PillowImage.open(file) as picture:
        small, large = (np.asarray(picture.convert("RGB").resize(size)) for size in ((128, 152), (256, 304)))
    return [small, large, np.concatenate([large, large[:, ::-1]], axis=1), grey_image(96, 64)]


class TestIou(TrackerConformance):
    def make(self):
        return IouTracker()


class TestAgeGender(ClassifierConformance):
    def make(self):
        return AgeGenderClassifier(device="cpu")

    def pictures(self):
        return portraits()


@pytest.mark.parametrize("make", [CsvSink, JsonLinesSink, JsonSink, TracksSink, VideoSink, SummarySink])
class TestSinks(SinkConformance):
    @pytest.fixture(autouse=True)
    def _plugin(self, make, tmp_path):
        self.make = lambda: make(out=tmp_path)


class TestArraySource(SourceConformance):
    def make(self):
        return ArraySource(grey_image(64, 48, value=40 * i) for i in range(5))


class TestVideoSource(SourceConformance):
    @pytest.fixture(autouse=True)
    def _clip(self, tmp_path):
        self.make = lambda: VideoSource(synthetic_video(tmp_path / "a.mp4"), name="a")


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
        lambda frames: {"labels": [int(len(frames) > 1)], "names": ("cat", "dog")},
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


class Swapping:
    """Does what another detector, refiner or classifier does, for the wrong frames of a batch."""

    def __init__(self, other):
        self.other = other
        self.columns = getattr(other, "columns", ())

    def detect(self, frames):
        return self.other.detect(frames)[::-1]

    def refine(self, frames, near):
        return self.other.refine(frames, near)[::-1]

    def classify(self, frames, detections):
        return self.other.classify(frames[::-1], detections)


class Bright:
    """Finds the bright part of a picture, follows it, and says how bright it is."""

    columns = (LEVEL,)

    def detect(self, frames):
        return [self._found(frame.image[..., 0] > 128) for frame in frames]

    def _found(self, bright):
        if not bright.any():
            return Detections.empty()
        ys, xs = np.nonzero(bright)
        return Detections(boxes=[[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]])

    def refine(self, frames, near):
        return [one[: len(found)] for one, found in zip(near, self.detect(frames), strict=True)]

    def classify(self, frames, detections):
        levels = [[float(frame.image.mean())] * len(found) for frame, found in zip(frames, detections, strict=True)]
        return [found.with_attributes(level=level) for found, level in zip(detections, levels, strict=True)]


class Corners(Bright):
    def _found(self, bright):
        found = super()._found(bright)
        x1, y1, x2, y2 = found.boxes.T
        return Detections(boxes=np.stack([x1, y1, x2 - x1, y2 - y1], axis=1))


class Blind(Bright):
    def refine(self, frames, near):
        return [one[[]] for one in near]


class Elsewhere(Bright):
    def refine(self, frames, near):
        return [Detections(boxes=one.boxes + 30, tracks=one.tracks) for one in near]


def spots():
    pictures = [np.zeros((60, 80, 3), np.uint8) for _ in range(3)]
    for i, picture in enumerate(pictures):
        picture[10 + 10 * i : 30 + 10 * i, 20:40] = 200 + 20 * i
    return pictures


DETECTOR, REFINER, CLASSIFIER = DetectorConformance, RefinerConformance, ClassifierConformance


@pytest.mark.parametrize(
    ("base", "plugin", "test"),
    [
        (DETECTOR, Swapping(Bright()), "test_a_batch_says_what_its_frames_say_alone"),
        (DETECTOR, Corners(), "test_boxes_are_finite_and_scores_lie_between_0_and_1"),
        (REFINER, Swapping(Bright()), "test_what_was_found_is_found_again_where_it_is"),
        (REFINER, Blind(), "test_what_was_found_is_found_again_where_it_is"),
        (REFINER, Elsewhere(), "test_what_was_found_is_found_again_where_it_is"),
        (CLASSIFIER, Swapping(Bright()), "test_a_batch_says_what_its_frames_say_alone"),
    ],
    ids=["swapped", "width and height", "swapped again", "blind", "elsewhere", "said of others"],
)
def test_what_goes_wrong_where_something_is_found_does_not_conform(base, plugin, test):
    class Conformance(base):
        def make(self):
            return self.plugin

        def pictures(self):
            return spots()

    Conformance.plugin = Bright()
    getattr(Conformance(), test)()
    Conformance.plugin = plugin
    with pytest.raises(AssertionError):
        getattr(Conformance(), test)()


def test_where_nothing_is_found_pictures_are_asked_for():
    class Conformance(DetectorConformance):
        def make(self):
            return Finding(lambda frames: {"boxes": []})

    with pytest.raises(SkipTest, match=r"nothing was found in any picture: return some in pictures\(\)"):
        Conformance().test_a_batch_says_what_its_frames_say_alone()


def test_a_tracker_that_never_keeps_an_id_does_not_conform():
    class Restless(OrderTracker):
        ids = count(1)

        def update(self, frame, detections):
            return detections.with_tracks([next(self.ids) for _ in range(len(detections))])

    with pytest.raises(AssertionError, match="one thing that stood still for ten frames had the ids"):
        conformance(TrackerConformance, Restless()).test_what_stands_still_keeps_its_id()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"level": 1.0, "embedding": 3.0}, r"added \['embedding'\], which are no columns of it"),
        ({"level": np.inf}, "column 'level' is infinite"),
        ({"level": 1.0, "spread": -1.0}, "a standard deviation below 0"),
    ],
    ids=["not declared", "infinite", "negative"],
)
def test_a_classifier_that_says_what_reaches_nobody_does_not_conform(said, message):
    columns = [LEVEL, Column(name="spread", aggregate="std", of="level")] if "spread" in said else [LEVEL]
    plugin = Saying(lambda found: found.with_attributes(**{k: np.full(len(found), v) for k, v in said.items()}), *columns)
    with pytest.raises(AssertionError, match=message):
        conformance(ClassifierConformance, plugin).test_it_adds_its_columns_to_the_same_detections()


def test_columns_that_no_pipeline_takes_do_not_conform():
    with pytest.raises(UsageError, match="gives the column 'level' twice"):
        conformance(ClassifierConformance, Saying(None, LEVEL, LEVEL)).test_its_columns_go_together()


@pytest.mark.parametrize("kept", ["frame", "detections"])
def test_an_analyzer_that_takes_something_away_does_not_conform(kept):
    class Taking:
        def analyze(self, result):
            return replace(result, events=()) if kept == "detections" else replace(result, detections=Detections.empty())

    with pytest.raises(AssertionError):
        conformance(AnalyzerConformance, Taking()).test_it_adds_to_results_and_takes_nothing_away()


def test_an_analyzer_that_adds_an_event_conforms():
    class Adding:
        def analyze(self, result):
            return replace(result, events=(*result.events, Event(kind="seen", seconds=result.frame.seconds)))

    conformance(AnalyzerConformance, Adding()).test_it_adds_to_results_and_takes_nothing_away()


class Reusing:
    """A source that fills the same memory again and again, and that nobody can end."""

    def __init__(self):
        self.info = StreamInfo(name="door", width=64, height=48)

    def __iter__(self):
        memory = grey_image(64, 48)
        for i in range(3):
            memory[:] = 40 * i
            yield make_frame(memory, index=i, stream=self.info)
        FOREVER.wait()

    def close(self):
        pass


FOREVER = threading.Event()


def test_a_source_that_uses_its_memory_again_or_cannot_be_ended_does_not_conform(monkeypatch):
    class Conformance(SourceConformance):
        def make(self):
            return Reusing()

    monkeypatch.setattr("framehook.conformance._MOST_FRAMES", 3)
    monkeypatch.setattr("framehook.conformance._WAIT_SECONDS", 0.2)
    with pytest.raises(AssertionError, match="frame 0 shows another picture once the next ones have come"):
        Conformance().test_frames_stay_as_they_came()
    with pytest.raises(AssertionError, match="it still waits 0 s after it was closed"):
        Conformance().test_closing_ends_it()
    FOREVER.set()
