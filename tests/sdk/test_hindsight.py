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


def test_a_frame_of_a_file_reports_what_its_track_shows_in_the_next_0_6_s(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=60)  # views at 0, 2, …, 14, 34 and 54
    said = levels(pipeline(detect_every=1).run(str(path)))
    assert said[0] == 7
    assert said[19] == 7
    assert said[20] == said[39] == 10
    assert said[45:] == [pytest.approx((56 + 34 + 54) / 10)] * 15


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


def item(index, tracks, *, seconds=None, **attributes):
    n = len(tracks)
    found = Detections(boxes=np.tile(np.float32([8, 8, 24, 24]), (n, 1)), tracks=np.array(tracks, np.int64))
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


@pytest.mark.parametrize("seconds", [0.6, 100.0, -0.04])
def test_a_frame_waits_for_none_of_another_time(seconds):
    hindsight = Hindsight(STREAM, (LEVEL,))
    first = item(0, [1], level=[1.0])
    hindsight.take(first)
    assert hindsight.take(item(1, [1], seconds=seconds, level=[2.0])) == [first]
    assert first.detections.attributes["level"].tolist() == [1]


@pytest.mark.parametrize(("width", "height", "most"), [(64, 48, 24), (1920, 1080, 14), (3840, 2160, 3), (20_000, 10_000, 0)])
def test_how_many_frames_wait_hangs_on_their_size(width, height, most):
    hindsight = Hindsight(replace(STREAM, width=width, height=height), (LEVEL,))
    done = [len(hindsight.take(item(i, [1], seconds=i / 1000, level=[1.0]))) for i in range(40)]
    assert done == [0] * most + [1] * (40 - most)


def test_where_no_column_is_of_a_track_nothing_waits():
    hindsight = Hindsight(STREAM, (NOW,))
    first = item(0, [1], now=[3])
    assert hindsight.take(first) == [first]
