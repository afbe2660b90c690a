from typing import ClassVar

import numpy as np
import pytest

from framehook import Detections, Pipeline, StageError, StreamInfo
from framehook.analysis import Analysis
from framehook.stages import Stages
from framehook.stream_state import Counters, StreamState
from framehook.testing import FixedDetector, OrderTracker, grey_image, make_frame


def images(n):
    return [grey_image(64, 48)] * n


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": OrderTracker(), "classifiers": [], **given})


def test_detection_every_third_frame_follows_in_between():
    class Counting(FixedDetector):
        seen = ()

        def detect(self, frames):
            self.seen = (*self.seen, *(frame.index for frame in frames))
            return super().detect(frames)

    detector = Counting()
    results = list(pipeline(detector=detector, detect_every=3).run(images(10)))
    assert detector.seen == (0, 3, 6, 9)
    assert [len(result.detections) for result in results] == [1] * 10


def test_what_was_lost_from_sight_is_not_reported_in_between():
    class Remembering(OrderTracker):
        def predict(self, frame):
            return Detections(boxes=[[8, 8, 24, 24], [0, 0, 8, 8]], tracks=[1, 99])

    results = list(pipeline(tracker=Remembering(), detect_every=2).run(images(4)))
    assert [result.detections.tracks.tolist() for result in results] == [[1]] * 4


def test_a_refiner_is_asked_in_between():
    class Refining(FixedDetector):
        def refine(self, frames, near):
            return [Detections(boxes=one.boxes + 1, tracks=one.tracks) for one in near]

    results = list(pipeline(detector=Refining([[8, 8, 24, 24]]), detect_every=2).run(images(2)))
    assert results[1].detections.boxes.tolist() == [[9, 9, 25, 25]]


class Following(FixedDetector):
    """Remembers which frames it was asked to detect on, and what to find again."""

    def __init__(self, *args, lose=(), **given):
        super().__init__(*args, **given)
        self.detected, self.refined, self._lose = [], {}, lose

    def detect(self, frames):
        self.detected += [frame.index for frame in frames]
        return super().detect(frames)

    def refine(self, frames, near):
        self.refined |= {frame.index: known.tracks.tolist() for frame, known in zip(frames, near, strict=True)}
        return [known[[]] if frame.index in self._lose else known for frame, known in zip(frames, near, strict=True)]


def test_a_lost_face_is_looked_for_at_once_and_the_next_detection_comes_later():
    detector = Following(lose=(2,))
    results = list(pipeline(detector=detector, detect_every=4, batch=1).run(images(8)))
    assert detector.detected == [0, 2, 6]
    assert [len(result.detections) for result in results] == [1] * 8


class LosingOne(Following):
    """Sees two faces, and in one frame finds only the first again."""

    def __init__(self, *, lose):
        super().__init__(boxes=[[5, 5, 20, 20], [30, 5, 45, 20]], lose=lose)

    def refine(self, frames, near):
        return [known[:1] if frame.index in self._lose else known for frame, known in zip(frames, near, strict=True)]


@pytest.mark.parametrize(
    ("lost", "every", "wanted"),
    [
        pytest.param(2, 9, [0, 9], id="just after a detection it waits"),
        pytest.param(5, 9, [0, 5], id="long after a detection one comes at once"),
        pytest.param(5, None, [0, 4, 8], id="a detection that was to come later comes sooner"),
        pytest.param(99, None, [0, 4, 10], id="nothing is lost"),
    ],
)
def test_one_of_several_faces_is_lost(lost, every, wanted):
    detector = LosingOne(lose=(lost,))
    results = list(pipeline(detector=detector, detect_every=every, batch=1).run(images(11)))
    assert detector.detected == wanted
    assert [len(result.detections) for result in results[:4]] == [2, 2, 1 if lost == 2 else 2, 1 if lost == 2 else 2]


def test_faces_of_all_streams_are_looked_for_together_frame_after_frame():
    class Together(FixedDetector):
        asked: ClassVar = []

        def refine(self, frames, near):
            self.asked.append([(frame.stream.name, frame.index) for frame in frames])
            return near

    detector = Together()
    stages = Stages(detector=detector, make_tracker=OrderTracker, classifiers=[], make_analyzers=[], names={}, detect_every=3)
    states = [StreamState(make_frame(grey_image(8, 8)).stream, stages, Counters()) for _ in range(2)]
    infos = [StreamInfo(name=name, width=64, height=48) for name in "ab"]
    batch = [
        (states[i], make_frame(grey_image(64, 48), index=k, seconds=k / 25, stream=infos[i])) for i in range(2) for k in range(3)
    ]
    done, error = Analysis(stages).process(batch)
    assert error is None
    results = [result for _, result in done]
    assert detector.asked == [[("a", 1), ("b", 1)], [("a", 2), ("b", 2)]]
    assert [(result.frame.stream.name, result.frame.index) for result in results] == [
        (name, k) for name in "ab" for k in range(3)
    ]


def test_where_finding_again_fails_all_frames_before_are_delivered():
    class Failing(FixedDetector):
        def refine(self, frames, near):
            if any(frame.index == 5 for frame in frames):
                raise RuntimeError("told to fail")
            return near

    run = pipeline(detector=Failing(), detect_every=4).run(images(8))
    seen = []
    with pytest.raises(StageError, match=r"plugin 'Failing' failed on frame 5 .*told to fail"):
        seen += (result.frame.index for result in run)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("second", "wanted"),
    [("another", [0, 3, 7]), ("brighter", [0, 4]), ("moved", [0, 4])],
)
def test_after_a_cut_is_detected_at_once(second, wanted):
    first = np.zeros((48, 64, 3), np.uint8)
    first[:, 32:] = 200
    other = {"another": first[:, ::-1], "brighter": first + 55, "moved": np.roll(first, 4, axis=1)}
    detector = Following()
    with pipeline(detector=detector, detect_every=4).session() as session:
        for i, picture in enumerate([first] * 3 + [other[second]] * 5):
            session.push(picture, seconds=i / 25)
    assert detector.detected == wanted


def test_a_face_too_new_for_a_track_is_found_again_too():
    class Hesitant(OrderTracker):
        def update(self, frame, detections):
            return detections

    detector = Following()
    results = list(pipeline(detector=detector, tracker=Hesitant(), detect_every=3).run(images(3)))
    assert detector.refined == {1: [-1], 2: [-1]}
    assert [len(result.detections) for result in results] == [1] * 3


def test_what_is_too_new_for_a_track_is_found_again_beside_tracks_of_other_words():
    asked = {}

    class CatAndDog(FixedDetector):
        def detect(self, frames):
            return [Detections(boxes=[[5, 5, 20, 20], [30, 5, 45, 20]], labels=[0, 1], names=("cat", "dog")) for _ in frames]

        def refine(self, frames, near):
            for frame, known in zip(frames, near, strict=True):
                asked[frame.index] = [(each.label, each.track) for each in known]
            return near

    class OnlyDogs(OrderTracker):
        def update(self, frame, detections):
            return detections.with_tracks([1 if each.label == "dog" else -1 for each in detections])

        def predict(self, frame):
            return Detections(boxes=[[30, 5, 45, 20]], tracks=[1], names=("dog",))

    results = list(pipeline(detector=CatAndDog(), tracker=OnlyDogs(), detect_every=3).run(images(3)))
    assert asked == {1: [("dog", 1), ("cat", -1)], 2: [("dog", 1), ("cat", -1)]}
    assert [len(result.detections) for result in results] == [2] * 3


def test_where_nothing_is_known_nobody_looks():
    detector = Following(boxes=())
    frames = list(images(6))
    results = list(pipeline(detector=detector, detect_every=3).run(frames))
    assert (detector.detected, detector.refined) == ([0, 3], {})
    assert len(results) == 6


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(30, [0, 5, 12, 21]), (25, [0, 4, 10, 18]), (10, [0, 2, 5, 8, 11, 14, 17, 20, 23]), (3, list(range(24)))],
    ids=["30 a second", "25", "10", "3"],
)
def test_how_seldom_is_detected_hangs_on_the_time_between_frames_and_grows(rate, wanted):
    detector = Following()
    with pipeline(detector=detector).session() as session:
        for i in range(24):
            session.push(grey_image(64, 48), seconds=i / rate)
    assert detector.detected == wanted


def test_where_someone_new_turns_up_the_next_detection_comes_soon():
    class Arriving(Following):
        def detect(self, frames):
            found = super().detect(frames)
            both = Detections(boxes=[[8, 8, 24, 24], [40, 8, 56, 24]], scores=[0.9, 0.9])
            return [both if frame.index >= 15 else one for frame, one in zip(frames, found, strict=True)]

    detector = Arriving()
    with pipeline(detector=detector).session() as session:
        for i in range(32):
            session.push(grey_image(64, 48), seconds=i / 30)
    assert detector.detected == [0, 5, 12, 21, 26]  # found at 21, and at 26 nothing new: the next would be 33


def test_a_detector_that_cannot_find_again_is_asked_on_every_frame():
    results = list(pipeline(detector=FixedDetector(but_not=(1,))).run(images(3)))
    assert [len(result.detections) for result in results] == [1, 0, 1]
