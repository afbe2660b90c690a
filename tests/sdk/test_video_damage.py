"""Damaged files: what is good in them is read, and what is not is told."""

import random
import struct
import zlib

import av
import numpy as np
import pytest

from framehook import SourceError, VideoSource
from framehook.testing import synthetic_video


def damage(path, kind, *, start=2 / 3, length=1.0):
    content = path.read_bytes()
    first, last = int(len(content) * start), min(len(content), int(len(content) * (start + length)))
    middle = {"noise": random.Random(1).randbytes(last - first), "zeros": bytes(last - first), "cut": b""}[kind]
    damaged = path.with_name(f"{path.stem}-{kind}{path.suffix}")
    damaged.write_bytes(content[:first] + middle + content[last:])
    return damaged


def index_first(source, target):
    """Copy into an MP4 with its index at the front, so that damage at the end leaves it whole; or into what the suffix says."""
    options = {"movflags": "faststart"} if target.suffix == ".mp4" else {}
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        video = old.streams.best("video")
        stream = new.add_stream_from_template(video)
        for packet in old.demux(video):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return target


def good_and_bad(path, original):
    """How many frames are pixel for pixel those of the undamaged video, and how many are not; and the source."""
    with VideoSource(original, name="good") as source:
        good = {frame.pts: frame.image for frame in source}
    same = []
    with VideoSource(path, name="bad") as source:
        same.extend(bool(np.array_equal(frame.image, good.get(frame.pts))) for frame in source)
    return sum(same), len(same) - sum(same), source


@pytest.mark.parametrize("kind", ["noise", "zeros", "cut"])
@pytest.mark.parametrize(
    ("clip", "suffix", "at_least"),
    [
        ("humans_mot.mp4", ".mp4", 13),
        ("nasa_13013.mp4", ".mp4", 262),
        ("nasa_13013.mp4", ".mkv", 265),
        ("sign-bird-480p.mkv", ".mkv", 36),
        ("classroom.gif", ".gif", 27),
        ("face-demographics-walking.gif", ".gif", 24),
    ],
)
def test_a_file_whose_last_third_is_damaged_yields_its_good_frames_and_says_what_is_missing(
    shared_videos, tmp_path, clip, suffix, at_least, kind
):
    whole = shared_videos / clip if suffix == ".gif" else index_first(shared_videos / clip, tmp_path / f"whole{suffix}")
    copy = tmp_path / f"copy{suffix}"
    copy.write_bytes(whole.read_bytes())
    good, bad, source = good_and_bad(damage(copy, kind), whole)
    assert (good >= at_least, bad) == (True, 0)
    assert source.warnings
    assert all(" s" in warning for warning in source.warnings)


def test_after_damage_in_the_middle_decoding_goes_on_and_doubtful_frames_are_counted(shared_videos, tmp_path):
    whole = index_first(shared_videos / "nasa_13013.mp4", tmp_path / "whole.mp4")
    good, bad, source = good_and_bad(damage(whole, "noise", start=0.4, length=0.01), whole)
    skipped, smeared = source.warnings
    assert skipped.startswith(f"{source.damaged} damaged packets or frames skipped between 5.7")
    assert smeared.startswith(f"{bad} frames build on damaged ones")
    assert good + bad + source.damaged == 390


def test_a_gap_that_the_container_passes_over_in_silence_is_told(shared_videos, tmp_path):
    whole = index_first(shared_videos / "nasa_13013.mp4", tmp_path / "whole.mkv")
    good, bad, source = good_and_bad(damage(whole, "noise", start=0.4, length=0.02), whole)
    assert (good, bad) == (323, 0)
    assert source.warnings[-1] == "no frames in 1 gap between 5.84 s and 8.01 s"


def test_damage_before_the_start_is_nobodys_business(shared_videos, tmp_path):
    whole = index_first(shared_videos / "nasa_13013.mp4", tmp_path / "whole.mp4")
    damaged = damage(whole, "noise", start=0.1, length=0.01)
    with VideoSource(damaged, name="a", start_seconds=9.0) as source:
        assert len(list(source)) == 120
    assert source.warnings == ()


def test_frames_from_the_start_on_are_doubtful_where_the_key_frame_before_it_is_damaged(shared_videos, tmp_path):
    whole = index_first(shared_videos / "nasa_13013.mp4", tmp_path / "whole.mp4")
    with av.open(str(whole)) as container:
        key = next(packet for packet in container.demux(video=0) if packet.is_keyframe and packet.pts)
    length = whole.stat().st_size
    damaged = damage(whole, "zeros", start=(key.pos + key.size / 2) / length, length=key.size / 4 / length)
    with VideoSource(damaged, name="a", start_seconds=float(key.pts * key.time_base) + 0.1) as source:
        assert list(source)
    assert any("build on damaged ones" in warning for warning in source.warnings)


def test_libavs_messages_stay_off_the_terminal(tmp_path, capfd):
    path = synthetic_video(tmp_path / "a.mp4", frames=60)
    damaged = damage(path, "noise", start=0.2, length=0.3)
    with VideoSource(damaged, name="a") as source:
        assert len(list(source)) + source.damaged == 60
    assert source.damaged
    assert capfd.readouterr() == ("", "")


def png_of_one_grey(side):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((1 + side // 8) * side))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # 1 bit a pixel
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_that_libav_refuses_is_told_what_may_be_wrong_with_it(tmp_path):
    small, damaged, large = (tmp_path / name for name in ("small.png", "damaged.png", "large.png"))
    small.write_bytes(png_of_one_grey(64))
    damaged.write_bytes(png_of_one_grey(64)[:40])
    large.write_bytes(png_of_one_grey(16384))
    assert len(list(VideoSource(small, name="a"))) == 1
    reasons = "it is damaged, of a kind .*, or has more than 268 million"
    for path in (damaged, large):
        with pytest.raises(SourceError, match=f"{path.name} yields no picture: {reasons}"):
            list(VideoSource(path, name="a"))
