"""Reading: when frames are shown, and spans of time."""

import os
import threading
from fractions import Fraction

import pytest

from framehook import SourceError, VideoSource
from framehook.testing import frame_number, synthetic_video

CLIPS = (
    "classroom.gif",
    "face-demographics-walking-and-pause.gif",
    "facenet-multiface-1080p.mp4",
    "humans_mot.mp4",
    "nasa_13013.mp4",
    "sign-again-480p.mkv",
)


@pytest.mark.parametrize("clip", CLIPS)
def test_every_frame_of_a_clip_comes_with_the_time_that_its_container_gives(shared_videos, libav_times, clip):
    with VideoSource(shared_videos / clip, name="clip") as source:
        frames = list(source)
    assert [frame.pts * frame.time_base for frame in frames] == libav_times(shared_videos / clip)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].image.shape == (source.info.height, source.info.width, 3)
    assert (source.damaged, source.warnings) == (0, ())


def test_times_of_a_variable_frame_rate_are_exact(tmp_path):
    ticks = [500, 541, 700, 2000, 2001, 3250]
    with VideoSource(synthetic_video(tmp_path / "a.mp4", frames=6, rate=25, pts=ticks), name="a") as source:
        assert [frame.pts * frame.time_base for frame in source] == [Fraction(time, 1000) for time in ticks]


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_times_rise_also_in_an_avi_whose_frames_are_not_coded_in_the_order_in_which_they_are_shown(tmp_path, encode, codec):
    reordered = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"b_frames": 2}
    path = encode(tmp_path / "a.avi", codec=codec, **reordered)
    for start in (0, 23):
        with VideoSource(path, name="a", start_seconds=start / 25) as source:
            seen = [(frame.index, frame_number(frame.image), round(frame.seconds * 25, 6)) for frame in source]
        assert seen == [(number, number, number) for number in range(start, 40)]
        assert source.warnings == ()


def test_joined_recordings_are_read_to_their_end_and_told(tmp_path, encode):
    one = encode(tmp_path / "a.ts", frames=20).read_bytes()
    (tmp_path / "both.ts").write_bytes(one + one)
    with VideoSource(tmp_path / "both.ts", name="a") as source:
        seen = [frame_number(frame.image) for frame in source]
    assert seen[-20:] == list(range(20))
    assert len(seen) + source.damaged == 40  # libav flags a packet at the seam, whose counter begins anew
    assert source.warnings[-1] == "times go back once to 0.00 s: recordings were joined, or a clock was set"


def test_a_pipe_is_read_once_also_from_a_later_start(tmp_path, encode):
    content = encode(tmp_path / "a.ts").read_bytes()
    os.mkfifo(tmp_path / "pipe.ts")
    writer = threading.Thread(target=(tmp_path / "pipe.ts").write_bytes, args=(content,))
    writer.start()
    with VideoSource(tmp_path / "pipe.ts", name="a", start_seconds=1) as source:
        assert [frame_number(frame.image) for frame in source] == list(range(25, 40))
    writer.join()


def test_an_end_between_two_ticks_of_the_container_leaves_no_frame_out(tmp_path, encode):
    path = encode(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=10)  # a tick is a frame, of 0.04 s
    for end, frames in ((0.2, 5), (0.21, 6), (0.239, 6), (0.24, 6)):
        with VideoSource(path, name="a", end_seconds=end) as source:
            assert len(list(source)) == frames


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.ts", {"b_frames": 2}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.flv", {"b_frames": 2}),
        ("ten-bit.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
        ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
        ("full-chroma.mkv", {"pix_fmt": "yuv444p"}),
        ("b-frames.mov", {"b_frames": 3}),
        ("variable.mkv", {"pts": [40 * i + 13 * (i % 3) for i in range(40)], "time_base": Fraction(1, 1000)}),
        ("palette.gif", {"codec": "gif", "pix_fmt": "gray"}),
        ("with-sound.mp4", {"with_sound": True}),
    ],
)
def test_a_start_in_the_middle_gives_the_same_frames_as_reading_from_the_beginning(tmp_path, encode, name, how):
    path = encode(tmp_path / name, **how)
    with VideoSource(path, name="all") as source:
        everything = [(frame.index, frame.seconds, frame_number(frame.image)) for frame in source]
    assert [number for _, _, number in everything] == list(range(40))
    for first in (1, 17, 39):
        with VideoSource(path, name="part", start_seconds=everything[first][1]) as source:
            assert [(frame.index, frame.seconds, frame_number(frame.image)) for frame in source] == everything[first:]
            assert source.warnings == ()


def test_a_span_begins_with_its_start_and_ends_before_its_end(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=50, rate=10)
    with VideoSource(path, name="a", start_seconds=1.0, end_seconds=1.5) as source:
        assert [frame.index for frame in source] == [10, 11, 12, 13, 14]


def test_a_span_without_a_frame_is_an_error(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match=r"no frame in the span asked for: it begins at 0\.00 s; choose another start or end"):
        VideoSource(path, name="a", start_seconds=100)


def test_frames_without_a_time_follow_one_another_and_the_warnings_say_so(tmp_path, encode):
    with VideoSource(encode(tmp_path / "a.h264", frames=5), name="a") as source:
        seconds = [frame.seconds for frame in source]
    assert seconds == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert source.warnings == ("frames without a time, taken to start where the one before ends: 5",)


def test_a_camera_is_live_and_its_time_begins_at_its_first_frame():
    pattern = "testsrc=size=64x48:rate=25:duration=1,setpts=PTS+3600/TB"
    with VideoSource(pattern, name="camera-0", live=True, device_format="lavfi") as source:
        frames = list(source)
    assert (source.info.live, source.info.duration_seconds, len(frames)) == (True, None, 25)
    assert [frame.seconds for frame in frames] == pytest.approx([number / 25 for number in range(25)])


def test_a_cameras_end_counts_from_its_first_frame():
    pattern = "testsrc=size=64x48:rate=25:duration=1,setpts=PTS+3600/TB"
    with VideoSource(pattern, name="camera-0", live=True, device_format="lavfi", end_seconds=0.4) as source:
        assert len(list(source)) == 10
