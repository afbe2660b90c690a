"""What a frame of a recording says of its tracks, once what they show soon after is known too."""

from dataclasses import replace

import numpy as np
import pytest

from framehook import Column, Pipeline, StageError
from framehook.detections import Detections
from framehook.frame import StreamInfo
from framehook.hindsight import Hindsight
from framehook.steps import Item
from framehook.testing import FixedDetector, MemorySink, OrderTracker, grey_image, make_frame, synthetic_video

LEVEL = Column(name="level", aggregate="mean")
MOOD = Column(name="mood", aggregate="vote", of="score", categories=("calm", "angry"))
SCORE = Column(name="score", aggregate="probability", of="mood")
NOW = Column(name="now")
STREAM = StreamInfo(name="door", width=64, height=48)


class Telling:
    """A classifier that says of every view which frame it is of."""

    columns = (LEVEL, NOW)

    def classify(self, frames, detections):
        return [
            found.with_attributes(level=np.full(len(found), float(frame.index)), now=np.full(len(found), frame.index))
            for frame, found in zip(frames, detections, strict=True)
        ]


class Doubling:
    """A classifier that needs what the one before it said of the frame."""

    columns = (Column(name="double", aggregate="mean"),)

    def classify(self, frames, detections):
        return [found.with_attributes(double=2 * found.attributes["level"]) for found in detections]


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": OrderTracker(), "classifiers": [Telling()], **given})


def levels(results):
    return [float(result.detections.attributes["level"][0]) for result in results]


def test_a_frame_of_a_file_reports_what_its_track_shows_in_the_next_0_8_s(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=60)  # views at 0, 2, …, 14, 34 and 54
    said = levels(pipeline(detect_every=1).run(str(path)))
    assert said[:15] == [7] * 15
    assert said[15:35] == [10] * 20
    assert said[35:] == [pytest.approx((56 + 34 + 54) / 10)] * 25


def test_arrays_live_streams_and_sessions_report_what_is_known_at_once():
    images = [grey_image(64, 48)] * 5
    assert levels(pipeline().run(images)) == [0, 0, 1, 1, 2]
    with pipeline().session("door") as session:
        assert levels(session.push(image, seconds=i / 25) for i, image in enumerate(images)) == [0, 0, 1, 1, 2]


def test_what_is_of_a_moment_stays_of_that_moment(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=6)
    results = list(pipeline().run(str(path)))
    assert [result.detections.attributes["now"][0] for result in results] == [0, 0, 2, 2, 4, 4]
    assert levels(results) == [2] * 6


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_what_is_reported_hangs_on_no_batch(tmp_path, batch):
    path = synthetic_video(tmp_path / "a.mp4", frames=60)
    alone = levels(pipeline(detect_every=1, batch=8).run(str(path)))
    assert levels(pipeline(detect_every=1, batch=batch).run(str(path))) == alone


def test_analyzers_and_sinks_get_every_frame_once_and_in_order(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=40)
    shown, sink = [], MemorySink()

    class Noting:
        def analyze(self, result):
            shown.append((result.frame.index, float(result.detections.attributes["level"][0])))
            return result

    results = list(pipeline(analyzers=[Noting], sinks=[sink]).run(str(path)))
    assert [result.frame.index for result in results] == list(range(40))
    assert [result.frame.index for result in sink.results] == list(range(40))
    assert shown == list(enumerate(levels(results)))
    assert sink.ended[0].processed == 40


def test_a_classifier_sees_what_the_one_before_it_said(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=6)
    results = list(pipeline(classifiers=[Telling(), Doubling()]).run(str(path)))
    assert [float(result.detections.attributes["double"][0]) for result in results] == [2.0] * 6  # of 0, 1 and 2, so far


def test_where_a_plugin_fails_the_frames_that_wait_are_delivered(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=40)
    sink = MemorySink()
    with pytest.raises(StageError, match="plugin 'FixedDetector' failed on frame 9 "):
        list(pipeline(detector=FixedDetector(fail_at=9), sinks=[sink]).run(str(path)))
    assert [result.frame.index for result in sink.results] == list(range(9))
    assert levels(sink.results) == [4] * 9


def test_where_an_analyzer_fails_nothing_after_it_is_delivered(tmp_path):
    class Failing:
        def analyze(self, result):
            if result.frame.index == 3:
                raise RuntimeError("told to fail")
            return result

    path = synthetic_video(tmp_path / "a.mp4", frames=40)
    sink = MemorySink()
    with pytest.raises(StageError, match="plugin 'Failing' failed on frame 3 "):
        list(pipeline(detector=FixedDetector(fail_at=30), analyzers=[Failing], sinks=[sink]).run(str(path)))
    assert [result.frame.index for result in sink.results] == [0, 1, 2]


def item(index, tracks, *, seconds=None, boxes=None, names=("face",), **attributes):
    boxes = [(8, 8, 24, 24)] * len(tracks) if boxes is None else boxes
    found = Detections(boxes=np.reshape(np.float32(boxes), (-1, 4)), tracks=np.array(tracks, np.int64), names=names)
    seconds = index / 25 if seconds is None else seconds
    frame = make_frame(grey_image(64, 48), index=index, seconds=seconds, stream=STREAM)
    return Item(None, frame, index, index, True, detections=found.with_attributes(**attributes))


def test_each_row_reports_its_own_track_and_one_without_a_track_its_own_view():
    hindsight = Hindsight(STREAM, (LEVEL,))
    first, second = item(0, [5, -1, 7], level=[1.0, 2.0, 3.0]), item(1, [7, -1], level=[4.0, 5.0])
    assert hindsight.take(first) == hindsight.take(second) == []
    assert hindsight.rest() == [first, second]
    assert first.detections.attributes["level"].tolist() == [1, 2, 4]
    assert second.detections.attributes["level"].tolist() == [4, 5]


def test_words_and_their_probabilities_go_together():
    hindsight = Hindsight(STREAM, (MOOD, SCORE))
    frames = [item(0, [1], mood=np.array(["calm"], "<U5"), score=[0.6]), item(1, [1], mood=["angry"], score=[0.7])]
    for frame in frames:
        hindsight.take(frame)
    first, _ = hindsight.rest()
    assert (first.detections.attributes["mood"][0], first.detections.attributes["score"][0]) == ("angry", 0.7)


@pytest.mark.parametrize("seconds", [0.8, 100.0, -0.04])
def test_a_frame_waits_for_none_of_another_time(seconds):
    hindsight = Hindsight(STREAM, (LEVEL,))
    first = item(0, [1], level=[1.0])
    hindsight.take(first)
    assert hindsight.take(item(1, [1], seconds=seconds, level=[2.0])) == [first]
    assert first.detections.attributes["level"].tolist() == [1]


@pytest.mark.parametrize(("width", "height", "most"), [(64, 48, 24), (1920, 1080, 21), (3840, 2160, 5), (20_000, 10_000, 0)])
def test_how_many_frames_wait_hangs_on_their_size(width, height, most):
    hindsight = Hindsight(replace(STREAM, width=width, height=height), (LEVEL,))
    done = [len(hindsight.take(item(i, [1], seconds=i / 1000, level=[1.0]))) for i in range(40)]
    assert done == [0] * most + [1] * (40 - most)


def tracks(frames):
    hindsight = Hindsight(STREAM, ())
    done = [item for frame in frames for item in hindsight.take(frame)] + hindsight.rest()
    assert done == frames
    return [frame.detections.tracks.tolist() for frame in frames]


def test_what_gets_an_id_has_it_in_the_frames_before_too():
    assert tracks([item(0, [-1]), item(1, [-1]), item(2, [4])]) == [[4], [4], [4]]


def test_what_was_not_there_in_a_frame_between_is_left_alone():
    assert tracks([item(0, [-1]), item(1, []), item(2, [-1]), item(3, [4])]) == [[-1], [], [4], [4]]


def test_a_track_that_comes_back_claims_nothing():
    assert tracks([item(0, [4]), item(1, [-1]), item(2, [4])]) == [[4], [-1], [4]]


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ([[30, 8, 46, 24], [10, 8, 26, 24]], [-1, 4]),  # the one that lies there
        ([[15, 8, 31, 24]], [-1]),  # too far away
        ([[8, 8, 24, 24], [9, 8, 25, 24]], [4, -1]),  # the nearest of two
    ],
)
def test_the_id_goes_to_what_lies_at_the_same_place(before, wanted):
    assert tracks([item(0, [-1] * len(before), boxes=before), item(1, [4])])[0] == wanted


def test_two_of_one_place_get_one_id_each():
    assert tracks([item(0, [-1]), item(1, [4, 5])]) == [[4], [4, 5]]


def test_another_word_is_another_thing():
    frames = [item(0, [-1], names=("car",)), item(1, [4], names=("face", "car"))]
    assert tracks(frames)[0] == [-1]


def test_a_file_has_ids_from_the_first_frame_and_a_session_once_the_tracker_is_sure(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=5)
    sure = Pipeline(detector=FixedDetector(), tracker="iou", classifiers=[])
    assert [result.detections.tracks.tolist() for result in sure.run(str(path))] == [[1]] * 5
    with sure.session("door") as session:
        pushed = [session.push(grey_image(64, 48), seconds=i / 25).detections.tracks.tolist() for i in range(5)]
    assert pushed == [[-1], [-1], [1], [1], [1]]
