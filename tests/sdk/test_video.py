"""Reading: times, pictures, what cannot be read. test_video_damage.py has damaged files, test_video_writer.py writing."""

import gc
import os
import random
import socket
import struct
import threading
import wave
import weakref
import zlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from framehook import SourceError, SourceNotFoundError, UsageError, VideoSource, VideoWriter, video
from framehook.testing import frame_number, grey_image, grey_of, synthetic_video
from framehook.video import ArrayPicture, codecs

CLIPS = (
    "classroom.gif",
    "face-demographics-walking-and-pause.gif",
    "facenet-multiface-1080p.mp4",
    "humans_mot.mp4",
    "nasa_13013.mp4",
    "sign-again-480p.mkv",
)
COLOUR = (200, 60, 30)
TILED = Path(__file__).with_name("tiled.avif")  # four one-coloured PNG files of 64 x 64, by libavif's `avifenc --grid 2x2`


def encode(
    path, *, codec="libx264", pix_fmt="yuv420p", frames=40, size=(96, 64), pts=None, time_base=Fraction(1, 25), b_frames=0, **more
):
    """Write what framehook itself does not write: other codecs, containers and pixels, B-frames, rotation, a second stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = 10
        stream.codec_context.max_b_frames = b_frames
        sound = container.add_stream("aac", rate=8000) if more.get("sound") else None
        if "rotation" in more:
            stream.set_display_rotation(*more["rotation"])
        for number in range(frames):
            picture = more.get("picture", grey_image(*size, value=grey_of(number)))
            frame = av.VideoFrame.from_ndarray(picture).reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts[number] if pts else number, time_base
            container.mux(stream.encode(frame))
        if sound is not None:
            container.mux(sound.encode(silence()))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def silence():
    samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
    samples.sample_rate = 8000
    return samples


def corners(image):
    """Which of the colours red, green, blue and white lie top left, top right, bottom left and bottom right."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    height, width = image.shape[:2]
    spots = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [names[tuple((spot > 127).astype(int))] for spot in spots]


@pytest.fixture
def quarters():
    """red green / blue white, wider than high."""
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24], picture[:16, 24:], picture[16:, :24], picture[16:, 24:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return picture


@pytest.mark.parametrize("clip", CLIPS)
def test_every_frame_of_a_clip_comes_with_the_time_that_its_container_gives(shared_videos, libav_times, clip):
    with VideoSource(shared_videos / clip, name="clip") as source:
        frames = list(source)
    assert [frame.pts * frame.time_base for frame in frames] == libav_times(shared_videos / clip)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].image.shape == (source.info.height, source.info.width, 3)
    assert (source.damaged, source.warnings) == (0, ())


def test_of_several_streams_the_best_video_is_read(shared_videos):
    with VideoSource(shared_videos / "nasa_13013.mp4", name="nasa") as source:
        assert (source.info.width, source.info.height, source.info.frames) == (480, 270, 390)


def test_what_the_container_says_is_in_the_stream_info(tmp_path):
    info = VideoSource(synthetic_video(tmp_path / "a.mp4", frames=10, width=66, height=48, rate=20), name="a").info
    assert (info.name, info.width, info.height, info.rate, info.frames, info.live) == ("a", 66, 48, Fraction(20), 10, False)
    assert info.duration_seconds == pytest.approx(0.5)


def test_times_of_a_variable_frame_rate_are_exact(tmp_path):
    ticks = [500, 541, 700, 2000, 2001, 3250]
    with VideoSource(synthetic_video(tmp_path / "a.mp4", frames=6, rate=25, pts=ticks), name="a") as source:
        assert [frame.pts * frame.time_base for frame in source] == [Fraction(time, 1000) for time in ticks]


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_times_rise_also_in_an_avi_whose_frames_are_not_coded_in_the_order_in_which_they_are_shown(tmp_path, codec):
    reordered = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"b_frames": 2}
    path = encode(tmp_path / "a.avi", codec=codec, **reordered)
    for start in (0, 23):
        with VideoSource(path, name="a", start_seconds=start / 25) as source:
            seen = [(frame.index, frame_number(frame.image), round(frame.seconds * 25, 6)) for frame in source]
        assert seen == [(number, number, number) for number in range(start, 40)]
        assert source.warnings == ()


def test_joined_recordings_are_read_to_their_end_and_told(tmp_path):
    one = encode(tmp_path / "a.ts", frames=20).read_bytes()
    (tmp_path / "both.ts").write_bytes(one + one)
    with VideoSource(tmp_path / "both.ts", name="a") as source:
        seen = [frame_number(frame.image) for frame in source]
    assert seen[-20:] == list(range(20))
    assert len(seen) + source.damaged == 40  # libav flags a packet at the seam, whose counter begins anew
    assert source.warnings[-1] == "times go back once to 0.00 s: recordings were joined, or a clock was set"


def test_a_pipe_is_read_once_also_from_a_later_start(tmp_path):
    content = encode(tmp_path / "a.ts").read_bytes()
    os.mkfifo(tmp_path / "pipe.ts")
    writer = threading.Thread(target=(tmp_path / "pipe.ts").write_bytes, args=(content,))
    writer.start()
    with VideoSource(tmp_path / "pipe.ts", name="a", start_seconds=1) as source:
        assert [frame_number(frame.image) for frame in source] == list(range(25, 40))
    writer.join()


def test_an_end_between_two_ticks_of_the_container_leaves_no_frame_out(tmp_path):
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
        ("with-sound.mp4", {"sound": True}),
    ],
)
def test_a_start_in_the_middle_gives_the_same_frames_as_reading_from_the_beginning(tmp_path, name, how):
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


def test_frames_without_a_time_follow_one_another_and_the_warnings_say_so(tmp_path):
    with VideoSource(encode(tmp_path / "a.h264", frames=5), name="a") as source:
        seconds = [frame.seconds for frame in source]
    assert seconds == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert source.warnings == ("frames without a time, taken to start where the one before ends: 5",)


@pytest.mark.parametrize(
    ("rotation", "seen", "size"),
    [
        ((0,), ["red", "green", "blue", "white"], (48, 32)),
        ((90,), ["green", "white", "red", "blue"], (32, 48)),
        ((180,), ["white", "blue", "green", "red"], (48, 32)),
        ((270,), ["blue", "red", "white", "green"], (32, 48)),
        ((0, True), ["green", "red", "white", "blue"], (48, 32)),
        ((0, False, True), ["blue", "white", "red", "green"], (48, 32)),
    ],
    ids=["none", "90", "180", "270", "mirrored", "upside-down"],
)
def test_pictures_are_turned_upright(tmp_path, quarters, rotation, seen, size):
    path = encode(tmp_path / "a.mp4", frames=1, size=(48, 32), picture=quarters, rotation=rotation)
    with VideoSource(path, name="a") as source:
        frame = next(iter(source))
    assert (source.info.width, source.info.height) == size
    assert corners(frame.image) == seen
    assert corners(frame.resized(size[0] // 2, size[1] // 2)) == seen
    assert frame.image.flags.c_contiguous


@pytest.mark.parametrize(
    ("tag", "seen"),
    [
        (1, ["red", "green", "blue", "white"]),
        (2, ["green", "red", "white", "blue"]),
        (3, ["white", "blue", "green", "red"]),
        (4, ["blue", "white", "red", "green"]),
        (5, ["red", "blue", "green", "white"]),
        (6, ["blue", "red", "white", "green"]),
        (7, ["white", "green", "blue", "red"]),
        (8, ["green", "white", "red", "blue"]),
    ],
)
def test_a_photograph_is_turned_as_its_exif_tag_says(tmp_path, quarters, tag, seen):
    encode(tmp_path / "plain.jpg", codec="mjpeg", pix_fmt="yuvj420p", frames=1, size=(48, 32), picture=quarters)
    jpeg = (tmp_path / "plain.jpg").read_bytes()
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, tag, 0, 0)
    (tmp_path / "tagged.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert corners(next(iter(VideoSource(tmp_path / "tagged.jpg", name="a"))).image) == seen


def test_a_picture_with_a_named_colour_profile_is_read_and_let_go_of(tmp_path, quarters):
    plain = encode(tmp_path / "plain.png", codec="png", pix_fmt="rgb24", frames=1, size=(48, 32), picture=quarters).read_bytes()
    profile = b"iCCP" + b"a profile\0\0" + zlib.compress(bytes(128))
    chunk = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    (tmp_path / "profile.png").write_bytes(plain[:33] + chunk + plain[33:])  # after the header
    for _ in range(20):
        with VideoSource(tmp_path / "profile.png", name="a") as source:
            (frame,) = source
        assert corners(frame.image) == ["red", "green", "blue", "white"]
        del source, frame
        gc.collect()  # where it was freed twice, this ended the process


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("a.png", "png", "rgb24"), ("a.jpg", "mjpeg", "yuvj420p"), ("a.bmp", "bmp", "bgr24")]
)
def test_an_image_is_a_stream_of_one_frame_without_a_rate(tmp_path, quarters, name, codec, pix_fmt):
    path = encode(tmp_path / name, codec=codec, pix_fmt=pix_fmt, frames=1, size=(48, 32), picture=quarters)
    with VideoSource(path, name="a", start_seconds=5) as source:  # a picture has no time, and so no start
        (frame,) = source
    assert (source.info.frames, source.info.rate, source.info.duration_seconds, frame.pts) == (1, None, None, 0)
    assert corners(frame.image) == ["red", "green", "blue", "white"]


def test_a_source_that_was_closed_leaves_nothing_to_the_garbage_collector(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        with VideoSource(path, name="a") as source:
            last_seen = weakref.ref(source)
            next(iter(source))
        del source
        assert last_seen() is None
    finally:
        gc.enable()


def test_large_pictures_in_rgb_keep_their_colours(tmp_path):
    picture = np.full((720, 64, 3), COLOUR, np.uint8)
    path = encode(tmp_path / "a.png", codec="png", pix_fmt="rgb24", frames=1, size=(64, 720), picture=picture)
    assert np.array_equal(next(iter(VideoSource(path, name="a"))).image, picture)


def test_a_stream_that_changes_its_size_keeps_that_of_its_first_frame(tmp_path):
    first = encode(tmp_path / "a.ts", frames=5, size=(96, 64)).read_bytes()
    second = encode(tmp_path / "b.ts", frames=5, size=(160, 96), pts=range(10, 15)).read_bytes()
    (tmp_path / "both.ts").write_bytes(first + second)
    with VideoSource(tmp_path / "both.ts", name="a") as source:
        frames = list(source)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert frames[0].planes is not None
    assert [frame.planes for frame in frames[-5:]] == [None] * 5  # of another size than the picture
    assert [frame_number(frame.image) for frame in frames[-5:]] == [0, 1, 2, 3, 4]


def test_transparent_pictures_and_palettes_become_rgb(tmp_path, quarters):
    path = encode(tmp_path / "a.png", codec="png", pix_fmt="rgba", frames=1, size=(48, 32), picture=quarters)
    assert corners(next(iter(VideoSource(path, name="a"))).image) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize(
    ("height", "space", "full_range", "weights"),
    [
        (64, 1, False, (0.2126, 0.0722)),
        (64, 6, False, (0.299, 0.114)),
        (64, 6, True, (0.299, 0.114)),
        (64, 2, False, (0.299, 0.114)),
        (720, 2, False, (0.2126, 0.0722)),
    ],
    ids=["bt709", "bt601", "bt601 full range", "untagged small", "untagged HD"],
)
def test_colours_are_those_that_the_stream_says(tmp_path, height, space, full_range, weights):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if full_range else 1
        frame = av.VideoFrame(64, height, "yuv420p")
        frame.colorspace, frame.color_range, frame.pts = space, 2 if full_range else 1, 0
        for plane, value in zip(frame.planes, yuv(*weights, full_range=full_range), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frame = next(iter(VideoSource(path, name="a")))
    assert frame.image[5, 5].tolist() == pytest.approx(COLOUR, abs=3)
    assert frame.resized(20, 20)[5, 5].tolist() == pytest.approx(COLOUR, abs=3)
    planes = frame.planes
    assert [plane[5, 5] for plane in (planes.y, planes.u, planes.v)] == yuv(*weights, full_range=full_range)
    assert (planes.matrix, planes.full_range) == ("bt601" if weights[0] == 0.299 else "bt709", full_range)


def test_planes_have_the_size_of_the_picture_and_not_that_of_the_decoders_rows(tmp_path):
    frame = next(iter(VideoSource(encode(tmp_path / "a.mkv", codec="ffv1", frames=1, size=(51, 33)), name="a")))
    planes = frame.planes
    assert (planes.y.shape, planes.u.shape, planes.v.shape) == ((33, 51), (17, 26), (17, 26))
    assert repr(planes) == "Planes(51 x 33, bt601, full_range=False)"


@pytest.mark.parametrize(
    "how",
    [{"rotation": (90,)}, {"rotation": (0, True)}, {"pix_fmt": "yuv444p"}, {"codec": "png", "pix_fmt": "rgb24"}],
    ids=["turned", "mirrored", "colour for each pixel", "RGB"],
)
def test_pictures_that_are_kept_in_another_way_have_no_planes(tmp_path, how):
    path = encode(tmp_path / ("a.png" if "codec" in how else "a.mp4"), frames=1, **how)
    frame = next(iter(VideoSource(path, name="a")))
    assert frame.planes is None
    assert frame.image.shape[2] == 3


def yuv(red_weight, blue_weight, *, full_range):
    """COLOUR as luma and chroma: ITU-T H.273, equations 31 to 33 and their quantisation."""
    red, green, blue = (value / 255 for value in COLOUR)
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    if full_range:
        return [round(255 * luma), *(round(128 + 255 * value) for value in chroma)]
    return [round(16 + 219 * luma), *(round(128 + 224 * value) for value in chroma)]


def test_shrinking_averages_and_keeps_white_white(tmp_path):
    stripes = np.zeros((48, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    path = encode(tmp_path / "a.mkv", codec="ffv1", pix_fmt="bgr0", frames=1, size=(64, 48), picture=stripes)
    assert next(iter(VideoSource(path, name="a"))).resized(16, 12).astype(int) == pytest.approx(127.5, abs=3)
    white = encode(tmp_path / "b.mp4", frames=1, size=(64, 48), picture=np.full((48, 64, 3), 255, np.uint8))
    assert next(iter(VideoSource(white, name="b"))).resized(16, 12).min() == 255


def test_no_pixel_is_converted_before_someone_asks(tmp_path, monkeypatch):
    path = synthetic_video(tmp_path / "a.mp4")
    conversions = []
    convert = VideoReformatter.reformat
    monkeypatch.setattr(video, "VideoReformatter", lambda: CountingConverter(conversions, convert))
    with VideoSource(path, name="a") as source:
        conversions.clear()  # opening looks at a tiny copy of the first frame
        frames = list(source)
    assert (len(frames), conversions) == (10, [])
    assert frame_number(frames[3].image) == frame_number(frames[3].image) == 3
    assert len(conversions) == 1


class CountingConverter:
    def __init__(self, conversions, convert):
        self._conversions, self._convert, self._converter = conversions, convert, VideoReformatter()

    def reformat(self, *args, **more):
        self._conversions.append(args)
        return self._convert(self._converter, *args, **more)


# --- what cannot be read


def test_a_missing_file_is_told_from_one_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"no\.mp4 does not exist; give a video or image file"):
        VideoSource(tmp_path / "no.mp4", name="a")


def text(path):
    path.write_text("not a video\n" * 50)


def empty(path):
    path.write_bytes(b"")


def folder(path):
    path.mkdir()


def noise(path):
    path.write_bytes(random.Random(1).randbytes(5000))


def without_index(path):
    content = synthetic_video(path.with_name("whole.mp4")).read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])


def only_sound(path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        container.mux([*stream.encode(silence()), *stream.encode(None)])


def only_sound_as_wav(path):
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def tiled(path):
    path.write_bytes(TILED.read_bytes())


def no_frame(path):
    with VideoWriter(path, width=16, height=16, time_base=Fraction(1, 25)):
        pass


def no_frame_as_matroska(path):
    with av.open(str(path), "w", format="matroska") as container:
        container.add_stream("mpeg4", rate=25)
        container.start_encoding()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text, "is a text file; give a video or image file"),
        (empty, r"is empty \(0 bytes\); copy or record it again"),
        (folder, "is a folder; give a video or image file"),
        (noise, "is no video or image that libav can read"),
        (without_index, r"is an MP4 file whose index \(moov\) is missing or damaged"),
        (only_sound, "has no video in it, only audio"),
        (only_sound_as_wav, "has no video in it, only audio"),
        (tiled, "is a picture in 4 tiles.*; convert it to JPEG or PNG"),
        (no_frame, "has no frame in it"),
        (no_frame_as_matroska, "ends before its first frame"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line_that_says_what_it_is(tmp_path, make, message):
    make(tmp_path / "clip.mp4")
    with pytest.raises(SourceError, match=rf"clip\.mp4 {message}") as caught:
        VideoSource(tmp_path / "clip.mp4", name="a")
    assert "\n" not in str(caught.value)


def test_a_text_file_is_no_video_even_if_libav_would_draw_it(tmp_path):
    text(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match=r"notes\.txt is a text file"):
        VideoSource(tmp_path / "notes.txt", name="a")


def test_a_file_may_have_a_name_that_looks_like_something_else(tmp_path):
    path = synthetic_video(tmp_path / "whole.mp4").rename(tmp_path / "cam: 12:30 %03d [x].mp4")
    assert len(list(VideoSource(path, name="a"))) == 10


def test_a_server_that_does_not_answer_is_an_error_that_keeps_the_password_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://user:secret@127.0.0.1:{server.getsockname()[1]}/cam.ts"
        with pytest.raises(SourceError, match="cannot be opened: no answer in time; check that it can be reached") as caught:
            VideoSource(address, name="a", live=True, timeout_seconds=0.2)
    assert "secret" not in str(caught.value)


def test_a_live_stream_that_falls_silent_is_an_error_after_its_frames(tmp_path):
    content = encode(tmp_path / "a.ts", frames=200).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve():
            connections.append(server.accept()[0])
            connections[0].sendall(content)

        threading.Thread(target=serve).start()
        source = VideoSource(f"tcp://127.0.0.1:{server.getsockname()[1]}", name="a", live=True, timeout_seconds=2)
        numbers = []
        with pytest.raises(SourceError, match="was interrupted: no answer in time; check the connection"):
            numbers.extend(frame_number(frame.image) for frame in source)
        source.close()
        connections[0].close()
    assert source.info.live
    assert numbers[:40] == list(range(40))
    assert len(numbers) >= 190


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


def test_closing_from_another_thread_ends_the_loop(tmp_path):
    source = VideoSource(synthetic_video(tmp_path / "a.mp4", frames=40), name="a")
    frames = iter(source)
    next(frames)
    other = threading.Thread(target=source.close)
    other.start()
    other.join()
    assert len(list(frames)) < 39
    source.close()
    assert source.warnings == ()


def test_frames_outlive_their_source(tmp_path):
    with VideoSource(synthetic_video(tmp_path / "a.mp4"), name="a") as source:
        frames = list(source)
    assert [frame_number(frame.image) for frame in frames] == list(range(10))


def test_one_frame_may_be_converted_by_several_threads(tmp_path):
    frame = next(iter(VideoSource(synthetic_video(tmp_path / "a.mp4", width=320, height=240), name="a")))
    wanted = {size: frame.resized(*size) for size in ((100, 80), (160, 120), (320, 240))}
    wrong = []

    def convert():
        for _ in range(20):
            wrong.extend(size for size, image in wanted.items() if not np.array_equal(frame.resized(*size), image))

    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_decoding_ahead_gives_the_same_frames(tmp_path):
    path = encode(tmp_path / "a.mp4", b_frames=2)
    assert [frame_number(frame.image) for frame in VideoSource(path, name="a", threads=4)] == list(range(40))


# --- pictures that a program brings


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        (np.zeros((4, 4), np.uint8), r"\(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) uint8"),
        (np.zeros((4, 4, 3), np.float32), r"\(4, 4, 3\) float32"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\) uint8"),
        ([[0, 0, 0]], "list"),
    ],
    ids=["grey", "with alpha", "floats", "empty", "list"],
)
def test_a_picture_of_the_wrong_kind_is_refused(picture, got):
    with pytest.raises(UsageError, match=rf"must be a \(height, width, 3\) uint8 array in RGB, got {got}"):
        ArrayPicture(picture)


def test_a_picture_can_be_scaled_and_stays_its_owners(quarters):
    picture = ArrayPicture(quarters[:, ::-1])
    picture.rgb().flags.writeable = False
    assert quarters.flags.writeable
    assert corners(picture.scaled(20, 10)) == ["green", "red", "white", "blue"]


def test_the_greys_of_synthetic_frames_lie_apart():
    greys = sorted(grey_of(number) for number in range(47))
    assert greys[:3] == [0, 5, 10]
    assert all(after - before == 5 for before, after in pairwise(greys))


def test_libav_reads_and_writes_what_we_need():
    assert all(codecs().values())
    assert codecs().keys() >= {"h264 decoder", "h264 encoder"}
