from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from framehook import OutputError, VideoSource, VideoWriter
from framehook.testing import frame_number, grey_image, grey_of, synthetic_video

COLOUR = (200, 60, 30)


@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 25), range(10)),
        (Fraction(1, 12800), range(1280, 6400, 512)),
        (Fraction(1, 1000), [33, 67, 100, 140, 1000, 1001, 1500, 2033, 2067]),
        (Fraction(1001, 30000), range(100, 110)),
        (Fraction(1, 90000), range(8589934592, 8589934592 + 30030, 3003)),
        (Fraction(1, 1_000_000), [7, 40003, 80001, 1_000_000]),
    ],
    ids=["from 0", "from 0.1 s", "variable", "ntsc", "clock of a broadcast", "microseconds"],
)
def test_a_written_video_has_the_times_that_it_was_given(tmp_path, time_base, pts):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=time_base) as writer:
        for number, time in enumerate(pts):
            writer.write(grey_image(64, 48, value=grey_of(number)), time)
    with VideoSource(tmp_path / "a.mp4", name="a") as source:
        frames = list(source)
    assert [frame.pts * frame.time_base for frame in frames] == [time * time_base for time in pts]
    assert [frame_number(frame.image) for frame in frames] == list(range(len(pts)))
    assert source.warnings == ()


def test_a_copy_of_a_real_clip_has_its_times(shared_videos, libav_times, tmp_path):
    clip = shared_videos / "face-demographics-walking-and-pause.gif"
    with VideoSource(clip, name="a") as source:
        info, frames = source.info, list(source)
    with VideoWriter(
        tmp_path / "a.mp4", width=info.width, height=info.height, time_base=frames[0].time_base, rate=info.rate
    ) as copy:
        for frame in frames:
            copy.write(frame.image, frame.pts)
    assert libav_times(tmp_path / "a.mp4") == libav_times(clip)


def test_times_that_stand_still_or_go_back_move_on_by_a_tick(libav_times, tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 100)) as writer:
        for number, time in enumerate([0, 4, 4, 2, 12]):
            writer.write(grey_image(64, 48, value=grey_of(number)), time)
    assert libav_times(tmp_path / "a.mp4") == [Fraction(time, 100) for time in (0, 4, 5, 6, 12)]


def test_where_times_begin_anew_those_that_follow_move_along(libav_times, tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 100), rate=Fraction(25)) as writer:
        for number, time in enumerate([200, 204, 0, 4, 12, 90]):
            writer.write(grey_image(64, 48, value=grey_of(number)), time)
    assert libav_times(tmp_path / "a.mp4") == [Fraction(time, 100) for time in (200, 204, 208, 212, 220, 298)]


@pytest.mark.parametrize("gap", [2300, 100_000])
def test_a_gap_that_is_longer_than_a_picture_may_last_is_kept(libav_times, tmp_path, gap):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 1_000_000)) as writer:
        for i, seconds in enumerate((0, 1, gap, gap + 1)):
            writer.write(grey_image(64, 48, value=grey_of(i)), round(seconds * 1_000_000))
    times = libav_times(tmp_path / "a.mp4")
    assert [times[0], times[1], times[-2], times[-1]] == [0, 1, gap, gap + 1]
    assert max(b - a for a, b in pairwise(times)) <= Fraction(2**30, 1_000_000)


def test_a_clock_that_is_set_far_ahead_moves_nothing_away(libav_times, tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 1_000_000), rate=Fraction(25)) as writer:
        for seconds in (0, 1, 1_700_000_000, 1_700_000_001):
            writer.write(grey_image(64, 48), seconds * 1_000_000)
    assert libav_times(tmp_path / "a.mp4") == [0, 1, Fraction(104, 100), Fraction(204, 100)]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (17, 33)], ids=str)
def test_sizes_that_h264_cannot_hold_are_padded_to_even_ones(tmp_path, size):
    width, height = size
    with VideoSource(synthetic_video(tmp_path / "a.mp4", frames=3, width=width, height=height), name="a") as source:
        frames = list(source)
    assert (source.info.width, source.info.height) == (width + width % 2, height + height % 2)
    assert [frame_number(frame.image) for frame in frames] == [0, 1, 2]


def test_colours_survive_writing_and_are_tagged_for_players(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 25)) as writer:
        writer.write(np.full((48, 64, 3), COLOUR, np.uint8), 0)
    assert next(iter(VideoSource(tmp_path / "a.mp4", name="a"))).image[20, 20].tolist() == pytest.approx(COLOUR, abs=3)
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.colorspace, codec.color_range) == ("h264", "yuv420p", 1, 1)


def test_what_was_written_can_be_played_if_the_program_dies(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 25), rate=Fraction(25))
    for number in range(200):
        writer.write(grey_image(64, 48, value=grey_of(number)), number + 50)
    (tmp_path / "crashed.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    writer.close()
    with VideoSource(tmp_path / "crashed.mp4", name="a") as source:
        frames = list(source)
    assert len(frames) >= 100
    assert [frame.seconds for frame in frames] == pytest.approx([(50 + i) / 25 for i in range(len(frames))])


def test_a_finished_video_is_an_ordinary_mp4_that_knows_its_length(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=60)
    info = VideoSource(path, name="a").info
    assert (info.frames, info.duration_seconds) == (60, pytest.approx(2.4))
    writer = VideoWriter(path, width=2, height=2, time_base=Fraction(1, 25))
    writer.close()
    writer.close()


@pytest.mark.parametrize("place", ["nowhere/a.mp4", "file/a.mp4", "folder"])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written: .*; check the folder, its permissions and the disk"):
        VideoWriter(tmp_path / place, width=64, height=48, time_base=Fraction(1, 25))


def test_a_tick_that_is_too_short_is_told_as_an_error_of_output(tmp_path):
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: "):
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 2**40))


@pytest.mark.parametrize(("width", "height"), [(16_386, 2), (2, 17_000)], ids=str)
def test_a_picture_larger_than_h264_takes_is_told_as_that(tmp_path, width, height):
    with pytest.raises(OutputError, match=rf"pictures of {width} x {height} are too large for H.264.*; scale them down") as told:
        VideoWriter(tmp_path / "a.mp4", width=width, height=height, time_base=Fraction(1, 25))
    assert "disk" not in str(told.value)


def test_the_largest_picture_that_h264_takes_is_written(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=16_384, height=2, time_base=Fraction(1, 25)) as writer:
        writer.write(grey_image(16_384, 2, value=80), 0)
    assert VideoSource(tmp_path / "a.mp4", name="a").info.width == 16_384


def test_a_picture_of_another_size_than_the_video_is_refused(tmp_path):
    with (
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, time_base=Fraction(1, 25)) as writer,
        pytest.raises(ValueError, match=r"must be \(48, 64, 3\) uint8, got \(48, 32, 3\) uint8"),
    ):
        writer.write(grey_image(32, 48), 0)
