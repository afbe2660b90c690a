"""Reading: pictures upright, in their colours, and converted no sooner than asked for."""

import gc
import struct
import threading
import zlib
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image as PillowImage

from framehook import UsageError, VideoSource, video
from framehook.testing import frame_number, grey_of, synthetic_video
from framehook.video import ArrayPicture

COLOUR = (200, 60, 30)


def corners(image):
    """Which of the colours red, green, blue and white lie top left, top right, bottom left and bottom right."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    height, width = image.shape[:2]
    spots = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [names[tuple((spot > 127).astype(int))] for spot in spots]


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
def test_pictures_are_turned_upright(tmp_path, encode, quarters, rotation, seen, size):
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
def test_a_photograph_is_turned_as_its_exif_tag_says(tmp_path, encode, quarters, tag, seen):
    encode(tmp_path / "plain.jpg", codec="mjpeg", pix_fmt="yuvj420p", frames=1, size=(48, 32), picture=quarters)
    jpeg = (tmp_path / "plain.jpg").read_bytes()
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, tag, 0, 0)
    (tmp_path / "tagged.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert corners(next(iter(VideoSource(tmp_path / "tagged.jpg", name="a"))).image) == seen


def test_a_picture_with_a_named_colour_profile_is_read_and_let_go_of(tmp_path, encode, quarters):
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
def test_an_image_is_a_stream_of_one_frame_without_a_rate(tmp_path, encode, quarters, name, codec, pix_fmt):
    path = encode(tmp_path / name, codec=codec, pix_fmt=pix_fmt, frames=1, size=(48, 32), picture=quarters)
    with VideoSource(path, name="a", start_seconds=5) as source:  # a picture has no time, and so no start
        (frame,) = source
    assert (source.info.frames, source.info.rate, source.info.duration_seconds, frame.pts) == (1, None, None, 0)
    assert corners(frame.image) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize("pages", [1, 3])
def test_of_a_picture_with_several_pages_the_first_is_read_and_the_others_are_told_of(tmp_path, quarters, pages):
    rest = [PillowImage.fromarray(quarters)] * (pages - 1)
    PillowImage.fromarray(quarters).save(tmp_path / "a.tiff", save_all=True, append_images=rest)
    with VideoSource(tmp_path / "a.tiff", name="a") as source:
        assert [corners(frame.image) for frame in source] == [["red", "green", "blue", "white"]]
        assert source.warnings == ("only the first of its pages was read: save each page as a picture of its own",)[: pages - 1]


@pytest.mark.parametrize(("rotation", "aspect"), [(0, Fraction(64, 45)), (90, Fraction(45, 64))])
def test_the_shape_of_pixels_is_told_and_turned_with_the_picture(tmp_path, encode, rotation, aspect):
    path = encode(tmp_path / "a.mp4", frames=2, rotation=(rotation,), pixel_aspect=Fraction(64, 45))
    with VideoSource(path, name="a") as source:
        assert source.info.pixel_aspect == aspect
        assert all(frame.image.shape[:2] == (source.info.height, source.info.width) for frame in source)


def test_large_pictures_in_rgb_keep_their_colours(tmp_path, encode):
    picture = np.full((720, 64, 3), COLOUR, np.uint8)
    path = encode(tmp_path / "a.png", codec="png", pix_fmt="rgb24", frames=1, size=(64, 720), picture=picture)
    assert np.array_equal(next(iter(VideoSource(path, name="a"))).image, picture)


def test_a_stream_that_changes_its_size_keeps_that_of_its_first_frame(tmp_path, encode):
    first = encode(tmp_path / "a.ts", frames=5, size=(96, 64)).read_bytes()
    second = encode(tmp_path / "b.ts", frames=5, size=(160, 96), pts=range(10, 15)).read_bytes()
    (tmp_path / "both.ts").write_bytes(first + second)
    with VideoSource(tmp_path / "both.ts", name="a") as source:
        frames = list(source)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert frames[0].planes is not None
    assert [frame.planes for frame in frames[-5:]] == [None] * 5  # of another size than the picture
    assert [frame_number(frame.image) for frame in frames[-5:]] == [0, 1, 2, 3, 4]


def test_transparent_pictures_and_palettes_become_rgb(tmp_path, encode, quarters):
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
def test_colours_are_those_that_the_stream_says(tmp_path, encode, height, space, full_range, weights):
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


def test_planes_have_the_size_of_the_picture_and_not_that_of_the_decoders_rows(tmp_path, encode):
    frame = next(iter(VideoSource(encode(tmp_path / "a.mkv", codec="ffv1", frames=1, size=(51, 33)), name="a")))
    planes = frame.planes
    assert (planes.y.shape, planes.u.shape, planes.v.shape) == ((33, 51), (17, 26), (17, 26))
    assert repr(planes) == "Planes(51 x 33, bt601, full_range=False)"


@pytest.mark.parametrize(
    "how",
    [{"rotation": (90,)}, {"rotation": (0, True)}, {"pix_fmt": "yuv444p"}, {"codec": "png", "pix_fmt": "rgb24"}],
    ids=["turned", "mirrored", "colour for each pixel", "RGB"],
)
def test_pictures_that_are_kept_in_another_way_have_no_planes(tmp_path, encode, how):
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


def test_shrinking_averages_and_keeps_white_white(tmp_path, encode):
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
