"""The sink `video`: annotated pictures, with the source's own timestamps."""

import os
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image as PillowImage

from framehook import Detections, Frame, FrameResult, OptionError, OutputError, StreamInfo, StreamSink, StreamStatistics
from framehook.video import VideoSource
from framehook_plugins.sinks.annotate import colour_of
from framehook_plugins.sinks.video import VideoSink

TIME_BASE = Fraction(1, 90_000)


class Grey:
    """A flat picture, whose grey value survives lossy codecs."""

    def __init__(self, width, height, value):
        self.size, self.value = (width, height), value

    def rgb(self):
        return self.scaled(*self.size)

    def scaled(self, width, height):
        return np.full((height, width, 3), self.value, np.uint8)


def stream(name="door", *, width=160, height=120, rate=Fraction(25), frames=None, live=False):
    return StreamInfo(name=name, width=width, height=height, rate=rate, frames=frames, live=live)


def result(info, index, pts, boxes=()):
    frame = Frame(stream=info, index=index, pts=pts, time_base=TIME_BASE, picture=Grey(info.width, info.height, 40 * index % 240))
    detections = Detections(boxes=np.reshape(boxes, (-1, 4)), tracks=np.arange(len(boxes)))
    return FrameResult(frame=frame, detections=detections)


def end(sink, info):
    sink.end(info, StreamStatistics(stream=info.name))


def written(sink, info, times, boxes=()):
    sink.open(info)
    for i, pts in enumerate(times):
        sink.write(result(info, i, pts, boxes))
    end(sink, info)
    sink.close()


def read(path):
    source = VideoSource(path, name="read")
    try:
        return [(frame.pts * frame.time_base, frame.image) for frame in source]
    finally:
        source.close()


def test_pictures_keep_their_order_and_their_times_to_the_tick(tmp_path):
    times = [0, 3003, 3600, 20_000, 90_001, 90_002]
    written(VideoSink(out=tmp_path), stream(), times)
    frames = read(tmp_path / "door" / "annotated.mp4")
    assert [seconds for seconds, _ in frames] == [pts * TIME_BASE for pts in times]
    assert [round(image.mean() / 40) for _, image in frames] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("live", "begins"), [(True, 0), (False, 3600)], ids=["live", "recorded"])
def test_a_live_stream_is_shown_from_its_first_frame_on_and_a_recording_by_its_own_clock(tmp_path, live, begins):
    written(VideoSink(out=tmp_path), stream(live=live), [3600 * 90_000 + i * 3600 for i in range(3)])
    with av.open(str(tmp_path / "door" / "annotated.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([begins + i / 25 for i in range(3)])


def test_the_video_is_h264_that_players_know(tmp_path):
    written(VideoSink(out=tmp_path), stream(), [0, 3600])
    with av.open(str(tmp_path / "door" / "annotated.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_pixels_that_are_no_squares_stay_so(tmp_path):
    info = replace(stream(width=720, height=576), pixel_aspect=Fraction(64, 45))
    written(VideoSink(out=tmp_path), info, [0, 3600])
    with VideoSource(tmp_path / "door" / "annotated.mp4", name="read") as source:
        assert source.info.pixel_aspect == Fraction(64, 45)


def test_boxes_are_drawn_in_the_colours_of_their_tracks(tmp_path):
    info = stream(width=640, height=480)
    written(VideoSink(out=tmp_path), info, [0, 3600], boxes=[[100, 100, 200, 200], [400, 100, 500, 200]])
    _, image = read(tmp_path / "door" / "annotated.mp4")[0]
    shown = [(np.abs(image.astype(int) - colour_of(track)).max(axis=2) < 50).sum() for track in range(3)]
    assert min(shown[:2]) > 500
    assert shown[2] < 50


@pytest.mark.parametrize(("width", "height"), [(1, 1), (161, 121), (16, 400)])
def test_a_picture_of_any_size_can_be_written(tmp_path, width, height):
    written(VideoSink(out=tmp_path), stream(width=width, height=height), [0, 3600], boxes=[[0, 0, 1, 1]])
    assert len(read(tmp_path / "door" / "annotated.mp4")) == 2


def test_a_still_picture_becomes_a_picture(tmp_path):
    written(VideoSink(out=tmp_path), stream("photo.1", rate=None, frames=1), [0], boxes=[[40, 40, 90, 90]])
    assert [file.name for file in (tmp_path / "photo.1").iterdir()] == ["annotated.png"]
    with PillowImage.open(tmp_path / "photo.1" / "annotated.png") as picture:
        assert picture.size == (160, 120)
        assert picture.getpixel((40, 100)) == (0, 0, 0)
        assert colour_of(0) in set(picture.get_flattened_data())


def test_streams_that_take_turns_go_into_videos_of_their_own(tmp_path):
    sink = VideoSink(out=tmp_path)
    a, b = stream("a"), stream("b", width=320, height=240)
    sink.open(a)
    sink.open(b)
    for i in range(3):
        sink.write(result(a, i, 3600 * i))
        sink.write(result(b, i, 7200 * i))
    end(sink, a)
    sink.write(result(b, 3, 21_600))
    sink.close()
    assert [image.shape for _, image in read(tmp_path / "a" / "annotated.mp4")] == [(120, 160, 3)] * 3
    assert [image.shape for _, image in read(tmp_path / "b" / "annotated.mp4")] == [(240, 320, 3)] * 4


def test_a_run_that_is_broken_off_leaves_a_video_that_plays(tmp_path):
    sink = VideoSink(out=tmp_path)
    sink.open(stream())
    sink.write(result(stream(), 0, 0))
    sink.close()
    sink.close()
    assert len(read(tmp_path / "door" / "annotated.mp4")) == 1


def test_a_stream_without_a_result_leaves_no_video(tmp_path):
    written(VideoSink(out=tmp_path), stream(), [])
    assert list((tmp_path / "door").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stream_that_has_ended_leaves_no_file_open(tmp_path):
    sink = VideoSink(out=tmp_path)
    written(sink, stream("first"), [0])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib's iterdir holds one open itself
    for name in "abc":
        sink.open(stream(name))
        sink.write(result(stream(name), 0, 0))
        end(sink, stream(name))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def test_one_video_cannot_hold_two_streams(tmp_path):
    sink = VideoSink(path="all.mp4", out=tmp_path)
    sink.open(stream("a"))
    with pytest.raises(OptionError, match=r"'all.mp4' can hold one stream only, and 'b' is the second; put \{stream\} into"):
        sink.open(stream("b"))
    sink.close()


def test_a_picture_too_large_for_a_video_is_one_clear_error_that_leaves_no_file(tmp_path):
    sink = VideoSink(out=tmp_path)
    with pytest.raises(OutputError, match=r"pictures of 16386 x 2 are too large for H\.264"):
        written(sink, stream(width=16_386, height=2), [0])
    sink.close()
    assert list((tmp_path / "door").iterdir()) == []


@pytest.mark.parametrize("path", ["{stream}.avi", "{stream}", "out.png"])
def test_a_path_that_is_no_mp4_is_refused(path):
    with pytest.raises(OptionError, match=r"path must end in \.mp4"):
        VideoSink(path=path)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "door").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write '.*annotated.mp4'"):
        VideoSink(out=tmp_path).open(stream())


def test_the_sink_keeps_the_contract(tmp_path):
    assert isinstance(VideoSink(out=tmp_path), StreamSink)


def test_a_real_clip_keeps_its_times(shared_videos, tmp_path):
    source = VideoSource(shared_videos / "sign-again-480p.mkv", name="sign")
    sink = VideoSink(out=tmp_path)
    sink.open(source.info)
    times = []
    for frame in source:
        sink.write(FrameResult(frame=frame, detections=Detections(boxes=[[288, 67, 353, 149]], tracks=[1])))
        times.append(frame.pts * frame.time_base)
        if frame.index == 40:
            break
    source.close()
    end(sink, source.info)
    assert [seconds for seconds, _ in read(tmp_path / "sign" / "annotated.mp4")] == times
