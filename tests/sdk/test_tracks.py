"""TrackLog: results of frames in, summaries of tracks out."""

from fractions import Fraction

import numpy as np
import pytest

from framehook import Detections, Frame, FrameResult, StreamInfo, TrackLog

STREAM = StreamInfo(name="door", width=64, height=48)


class Grey:
    def rgb(self):
        return np.full((48, 64, 3), 128, np.uint8)

    def scaled(self, width, height):
        return np.full((height, width, 3), 128, np.uint8)


def result(seconds, tracks, **attributes):
    """A result at a whole second, with these tracks."""
    frame = Frame(stream=STREAM, index=seconds, pts=seconds, time_base=Fraction(1), picture=Grey())
    boxes = np.tile([0.0, 0.0, 9.0, 9.0], (len(tracks), 1))
    return FrameResult(frame=frame, detections=Detections(boxes=boxes, tracks=tracks, attributes=attributes))


def test_a_track_is_summarised_from_its_first_frame_to_its_last():
    log = TrackLog()
    for seconds in (3, 4, 6):
        assert log.update(result(seconds, [7])) == []
    (track,) = log.finish()
    assert (track.stream, track.track, track.label) == ("door", 7, "face")
    assert (track.first_seconds, track.last_seconds, track.frames) == (3.0, 6.0, 3)


def test_the_latest_value_of_an_attribute_is_the_tracks():
    log = TrackLog()
    log.update(result(0, [1, 2], age=[30.0, 50.0], gender=["male", "female"]))
    log.update(result(1, [2, 1], age=[51.0, 31.0], gender=["female", "female"]))
    one, two = log.finish()
    assert one.attributes == {"age": 31.0, "gender": "female"}
    assert two.attributes == {"age": 51.0, "gender": "female"}


def test_a_missing_value_does_not_replace_a_known_one():
    log = TrackLog()
    log.update(result(0, [1], age=[30.0], gender=["male"]))
    log.update(result(1, [1], age=[np.nan], gender=[""]))
    assert log.finish()[0].attributes == {"age": 30.0, "gender": "male"}


def test_what_was_never_known_stays_missing():
    log = TrackLog()
    log.update(result(0, [1], age=[np.nan], gender=[""]))
    attributes = log.finish()[0].attributes
    assert np.isnan(attributes["age"])
    assert attributes["gender"] == ""


def test_attributes_of_several_values_are_left_out():
    log = TrackLog()
    log.update(result(0, [1], landmarks=np.zeros((1, 5, 2)), age=[20.0]))
    assert log.finish()[0].attributes == {"age": 20.0}


def test_detections_without_a_track_are_in_no_summary():
    log = TrackLog()
    log.update(result(0, [-1, -1, 4]))
    assert [track.track for track in log.finish()] == [4]


def test_the_label_is_the_one_that_most_frames_gave():
    log = TrackLog()
    frame = result(0, []).frame
    for label in (1, 0, 0):
        detections = Detections(boxes=[[0, 0, 1, 1]], tracks=[1], labels=[label], names=("car", "truck"))
        log.update(FrameResult(frame=frame, detections=detections))
    assert log.finish()[0].label == "car"


def test_summaries_come_in_the_order_of_first_appearance():
    log = TrackLog()
    log.update(result(0, [9, 2]))
    log.update(result(1, [5, 2]))
    log.update(result(2, [9]))
    assert [track.track for track in log.finish()] == [9, 2, 5]


def test_a_track_that_was_not_seen_for_long_is_finished_while_others_go_on():
    log = TrackLog(idle_seconds=10)
    log.update(result(0, [1, 2]))
    assert log.update(result(10, [2])) == []
    assert [track.track for track in log.update(result(11, [2]))] == [1]
    assert [track.track for track in log.finish()] == [2]


def test_a_clock_that_jumps_back_does_not_keep_tracks_for_ever():
    log = TrackLog(idle_seconds=10)
    log.update(result(1000, [1]))
    assert [track.track for track in log.update(result(0, [2]))] == [1]


def test_a_log_can_be_used_again_after_it_was_finished():
    log = TrackLog()
    log.update(result(0, [1]))
    assert len(log.finish()) == 1
    assert log.finish() == []
    log.update(result(5, [1]))
    assert log.finish()[0].first_seconds == 5.0


def test_an_endless_stream_keeps_only_the_tracks_of_the_idle_time():
    log = TrackLog(idle_seconds=5)
    finished = [track.track for seconds in range(1000) for track in log.update(result(seconds, [seconds]))]
    assert finished == list(range(994))
    assert [track.track for track in log.finish()] == list(range(994, 1000))


@pytest.mark.parametrize("idle_seconds", [0, -1, float("nan")])
def test_an_idle_time_must_be_positive(idle_seconds):
    with pytest.raises(ValueError, match="idle_seconds must be positive, got"):
        TrackLog(idle_seconds=idle_seconds)
