import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from framehook import (
    ArraySource,
    Frame,
    Source,
    SourceError,
    SourceNotFoundError,
    SourceSpec,
    StreamInfo,
    UsageError,
    VideoSource,
    open_sources,
)
from framehook.testing import frame_number, grey_image, grey_of, make_frame, synthetic_video


def numbers(spec):
    source = spec.open()
    found = [frame_number(frame.image) for frame in source]
    source.close()
    return found


def names(sources, **more):
    return [spec.name for spec in open_sources(sources, **more)]


def greys(count):
    return [grey_image(64, 48, value=grey_of(number)) for number in range(count)]


@pytest.fixture
def clips(tmp_path):
    """A folder with clip-2.mp4, clip-10.mp4, a picture, a text and a subfolder with another clip."""
    folder = tmp_path / "clips"
    (folder / "deeper").mkdir(parents=True)
    content = synthetic_video(tmp_path / "made.mp4", frames=3).read_bytes()
    for name in ("clip-10.mp4", "clip-2.MP4", "deeper/other.mp4", ".hidden.mp4", "cover.png"):
        (folder / name).write_bytes(content)
    (folder / "notes.txt").write_text("notes")
    return folder


def test_a_file_is_a_stream_named_after_its_stem(tmp_path):
    path = synthetic_video(tmp_path / "door.cam.mp4")
    for given in (path, str(path), [path], (path,), iter([path]), f"file://{path}"):
        (spec,) = open_sources(given)
        assert (spec.name, spec.live, numbers(spec)) == ("door.cam", False, list(range(10)))


def test_a_folder_means_the_media_in_it_in_natural_order(clips):
    assert names(clips) == ["clip-2", "clip-10", "cover"]


def test_a_glob_means_the_media_among_its_matches(clips, monkeypatch):
    assert names(f"{clips}/clip-*") == ["clip-2", "clip-10"]
    assert names(f"{clips}/*") == ["clip-2", "clip-10", "cover"]
    assert names(f"{clips}/**/*.mp4") == ["clip-10", "other"]
    assert names(f"{clips}/*.txt") == ["notes"]
    monkeypatch.chdir(clips)
    assert names("clip-?.*") == ["clip-2"]


def test_a_path_object_or_the_paths_of_a_glob_are_taken_as_they_are(clips):
    assert names(clips.glob("clip-1*")) == ["clip-10"]


def test_a_name_with_the_signs_of_a_glob_means_that_file_if_it_is_there(clips):
    (clips / "clip-2.MP4").rename(clips / "[x]*.mp4")
    assert names(f"{clips}/[x]*.mp4") == ["[x]"]


def test_nothing_is_opened_before_its_turn(tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    specs = open_sources([tmp_path / "broken.mp4"] * 1000)
    assert len({spec.name for spec in specs}) == 1000
    with pytest.raises(SourceError, match="is a text file"):
        specs[0].open()


def test_threads_reach_the_decoder_and_change_no_frame(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=30)
    (spec,) = open_sources(path, threads=3)
    with spec.open() as source:
        assert source._stream.codec_context.thread_count == 3
        assert [frame_number(frame.image) for frame in source] == list(range(30))


def test_start_and_end_reach_the_video(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4", frames=30, rate=10)
    (spec,) = open_sources(path, start_seconds=1, end_seconds=1.5)
    assert [frame.index for frame in spec.open()] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (["a.mp4", "b/a.mp4", "c/a.mkv"], ["a", "a-2", "a-3"]),
        (["a.mp4", "b/A.mp4"], ["a", "A-2"]),
        (["a-2.mp4", "a.mp4", "b/a.mp4"], ["a-2", "a", "a-3"]),
        (["CON.mp4", "nul.x.mp4"], ["stream-CON", "stream-nul.x"]),
        (["...mp4", "a. .mp4"], ["stream", "a"]),
        (['a"b|c?d.mp4'], ["a-b-c-d"]),
        ([f"{'x' * 200}.mp4"], ["x" * 80]),
        ([f"{'x' * 200}.mp4", f"b/{'x' * 200}.mp4"], ["x" * 80, f"{'x' * 78}-2"]),
        ([f"{'𠀋' * 60}.mp4", f"b/{'𠀋' * 60}.mp4"], ["𠀋" * 50, f"{'𠀋' * 49}-2"]),
        (["жук é.mp4"], ["жук é"]),
        (["bad\udcff.mp4"], ["bad"]),
    ],
    ids=[
        "same stem",
        "case",
        "taken number",
        "devices",
        "dots",
        "signs",
        "long",
        "long twice",
        "many bytes",
        "letters",
        "no text",
    ],
)
def test_names_are_unique_and_fit_for_folders_on_every_system(tmp_path, wanted, got):
    for name in wanted:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names([tmp_path / name for name in wanted]) == got


def test_a_stream_says_where_it_came_from_but_no_secret(tmp_path, monkeypatch):
    path = synthetic_video(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    (spec,) = open_sources("a.mp4")
    assert spec.location == spec.open().info.location == str(path)
    (spec,) = open_sources("rtsp://user:secret@camera:554/one?token=secret")
    assert spec.location == "rtsp://camera:554/one"
    (spec,) = open_sources("rtsp://user:se@cret@camera/one@2")
    assert spec.location == "rtsp://camera/one@2"
    with pytest.raises(SourceError, match=r"^http://127\.0\.0\.1:9/a\.mp4 cannot be opened") as caught:
        VideoSource("http://user:se@cret@127.0.0.1:9/a.mp4?token=secret", name="a")
    assert "cret" not in str(caught.value)
    (spec,) = open_sources([np.zeros((8, 8, 3), np.uint8)])
    assert spec.location is None


def test_what_is_opened_bears_the_name_that_it_was_given(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4")
    source = open_sources([path, path])[1].open()
    assert (source.info.name, next(iter(source)).stream.name) == ("a-2", "a-2")


# --- addresses and cameras


@pytest.mark.parametrize(
    ("address", "name", "live"),
    [
        ("rtsp://user:secret@door.local:554/Streaming/Channels/101?x=1", "door.local-Streaming-Channels-101", True),
        ("RTSP://door/cam/", "door-cam", True),
        ("udp://@239.0.0.1:1234", "239.0.0.1", True),
        ("https://example.org/films/a.mp4", "example.org-films-a.mp4", False),
    ],
)
def test_an_address_is_named_by_host_and_path_and_never_by_its_password(address, name, live):
    (spec,) = open_sources(address)
    assert (spec.name, spec.live) == (name, live)


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa#ss"])
def test_a_password_that_cuts_its_address_is_told_and_not_shown(password):
    with pytest.raises(UsageError, match=r"the address rtsp://… has a password that / \? or # cuts: write them as") as raised:
        open_sources(f"rtsp://admin:{password}@camera/1")
    assert "pa" not in str(raised.value).replace("password", "").replace("that", "")


@pytest.mark.parametrize(
    "address", ["rtsp://admin:pa%2Fss@camera/1", "http://host:8080/@me", "http://host/a:b@c", "rtsp://[fe80::1]/cam@1"]
)
def test_an_at_sign_alone_cuts_no_address(address):
    assert len(open_sources(address)) == 1


def test_an_address_that_nothing_answers_is_refused_with_what_there_is():
    with pytest.raises(SourceNotFoundError, match=r"nothing opens addresses that begin with htpp://; .*; did you mean 'http'"):
        open_sources("htpp://door/cam")


def test_a_plugin_answers_its_scheme_before_libav_does():
    asked = []

    def find(scheme, address):
        asked.append((scheme, address))
        return (lambda: ArraySource(greys(3), name="from the plugin")) if scheme == "vault" else None

    (spec,) = open_sources("vault://door/7", find=find)
    source = spec.open()
    assert asked == [("vault", "door/7")]
    assert [(frame.stream.name, frame_number(frame.image)) for frame in source] == [("door-7", n) for n in range(3)]
    assert source.info.name == spec.name == "door-7"
    assert open_sources("rtsp://door", find=find)[0].live


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a driver says which cameras there are")
@pytest.mark.parametrize("camera", [97, "97"])
def test_a_camera_that_is_not_there_is_told_at_once(camera):
    with pytest.raises(SourceNotFoundError, match=r"no camera 97 \(/dev/video97\); connected are: "):
        open_sources(camera)


def test_digits_that_name_a_file_mean_the_file(tmp_path, monkeypatch):
    synthetic_video(tmp_path / "a.mp4").rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert numbers(open_sources("7")[0]) == list(range(10))


# --- what is not there


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("clip-3.mp4", r"clip-3\.mp4 does not exist; give a file, a folder or an address; did you mean 'clip-10\.mp4'\?"),
        ("notes.mp4", r"notes\.mp4 does not exist; give a file, a folder or an address$"),
        ("nowhere/a.mp4", r"nowhere/a\.mp4 does not exist; give a file, a folder or an address"),
        ("empty", r"folder .*empty holds no video and no image"),
        ("*.avi", r"no file matches .*\*\.avi; check the pattern"),
    ],
    ids=["file", "file like one that is no video", "folder of a file", "folder without media", "glob"],
)
def test_what_is_not_there_is_told_at_once(clips, given, message):
    (clips / "empty").mkdir()
    (clips / "notes.md").touch()
    with pytest.raises(SourceNotFoundError, match=message):
        open_sources(f"{clips}/{given}")


def test_empty_text_is_no_source():
    with pytest.raises(UsageError, match="a source is empty text; name a file"):
        open_sources("")


def test_a_link_to_nothing_is_told_as_that(tmp_path):
    (tmp_path / "link.mp4").symlink_to("gone.mp4")
    with pytest.raises(SourceNotFoundError, match=r"link\.mp4 is a link to gone\.mp4, which is not there"):
        open_sources(tmp_path / "link.mp4")


def test_what_the_system_refuses_is_told_with_its_reason(tmp_path):
    with pytest.raises(SourceError, match=r"xxx\.mp4 cannot be read: File name too long; check the name"):
        open_sources(f"{tmp_path}/{'x' * 300}.mp4")


def test_an_address_of_a_file_may_have_its_spaces_encoded(tmp_path):
    synthetic_video(tmp_path / "a b.mp4")
    assert names(f"file://{tmp_path}/a%20b.mp4") == names(f"file://{tmp_path}/a b.mp4") == ["a b"]


@pytest.mark.parametrize("given", [[], (), iter([]), [[]]], ids=["list", "tuple", "iterator", "list in a list"])
def test_no_source_at_all_is_refused(given):
    with pytest.raises(UsageError, match="no source given; name a file, folder, address or camera, or give pictures"):
        open_sources(given)


@pytest.mark.parametrize("given", [None, 1.5, True, [None]], ids=str)
def test_what_cannot_be_a_source_is_refused(given):
    with pytest.raises(UsageError, match="a source cannot be"):
        open_sources(given)


# --- pictures and sources of the embedding program


def test_a_list_of_pictures_is_one_stream():
    (spec,) = open_sources(greys(5))
    info = spec.open().info
    assert (spec.name, numbers(spec)) == ("arrays", [0, 1, 2, 3, 4])
    assert (info.width, info.height, info.rate, info.frames, info.duration_seconds) == (64, 48, Fraction(25), 5, 0.2)


def test_pictures_stacked_in_one_array_are_one_stream():
    assert numbers(open_sources(np.stack(greys(4)))[0]) == [0, 1, 2, 3]


def test_pictures_are_drawn_one_by_one_from_a_generator():
    drawn = []

    def endless():
        while True:
            drawn.append(None)
            yield grey_image(64, 48)

    frames = iter(open_sources(endless())[0].open())
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    assert len(drawn) == 3


def test_pictures_may_come_with_their_times():
    pairs = list(zip([0.5, 0.54, 2.0, 100000.000001], greys(4), strict=True))
    source = ArraySource(pairs, name="timed")
    assert source.info.rate is None
    assert [frame.pts * frame.time_base for frame in source] == [Fraction(t) for t in ("0.5", "0.54", "2", "100000.000001")]


def test_times_of_pictures_without_one_follow_the_rate():
    assert [frame.seconds for frame in ArraySource(greys(3), rate=Fraction(30000, 1001))] == [0, 1001 / 30000, 2002 / 30000]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (grey_image(32, 48), "picture 1 must be 64 x 48 like the first, got 32 x 48"),
        (
            np.zeros((48, 64), np.uint8),
            r"picture 1: a picture must be a \(height, width, 3\) uint8 array in RGB, got \(48, 64\) uint8",
        ),
        ((1.0, grey_image(64, 48)), "either every picture has a time or none; picture 1 differs"),
        ("a.mp4", "picture 1: a picture must be .* got str"),
    ],
    ids=["size", "shape", "time", "kind"],
)
def test_a_picture_unlike_the_first_is_refused_when_its_turn_comes(second, message):
    frames = iter(ArraySource([grey_image(64, 48), second], name="mine"))
    next(frames)
    with pytest.raises(UsageError, match=f"source 'mine'.*{message}"):
        next(frames)


def test_a_source_without_a_picture_is_refused():
    with pytest.raises(UsageError, match="source 'arrays' has no picture"):
        ArraySource([])


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="source 'arrays': rate must be frames per second, above 0, got"):
        ArraySource(greys(2), rate=rate)


def test_times_of_pictures_are_numbers_of_any_kind_but_finite():
    source = ArraySource([(np.float32(0.5), greys(1)[0]), (float("nan"), greys(1)[0])])
    frames = iter(source)
    assert next(frames).seconds == 0.5
    with pytest.raises(UsageError, match="source 'arrays': the time of picture 1 must be a finite number, got nan"):
        next(frames)


@pytest.mark.parametrize("given", [b"a.mp4", "rtsp://[camera/1"], ids=["bytes", "bracket"])
def test_what_only_looks_like_a_source_is_refused(given):
    with pytest.raises(UsageError, match=r"a source cannot be b'a\.mp4'|the address 'rtsp://\[camera/1' cannot be read"):
        open_sources(given)


def test_pictures_of_an_iterable_that_uses_its_memory_again_are_copied():
    def camera():
        memory = np.empty((48, 64, 3), np.uint8)
        for number in range(5):
            memory[:] = grey_of(number)
            yield memory

    frames = list(ArraySource(camera()))
    assert [frame_number(frame.image) for frame in frames] == [0, 1, 2, 3, 4]


def test_pictures_of_a_list_are_used_where_they_lie():
    pictures = greys(2)
    frames = list(ArraySource(pictures))
    assert all(np.shares_memory(frame.image, picture) for frame, picture in zip(frames, pictures, strict=True))
    assert all(picture.flags.writeable for picture in pictures)


def test_closing_ends_the_stream():
    source = ArraySource(greys(5))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


@pytest.mark.parametrize("drawn", [1, 3])
def test_closing_closes_a_generator_of_pictures(drawn):
    let_go = []

    def pictures():
        try:
            yield from greys(5)
        finally:
            let_go.append(True)

    (spec,) = open_sources(pictures())
    for source in (ArraySource(pictures()), spec.open()):
        for _ in zip(range(drawn), source, strict=False):
            pass
        source.close()
        source.close()
        assert let_go.pop()


class Ours:
    """A source of the embedding program, with damage to report."""

    damaged = 2
    warnings = ("two are missing",)

    def __init__(self, name):
        self.info = StreamInfo(name=name, width=64, height=48)
        self.closed = False

    def __iter__(self):
        return (make_frame(picture, index=number, stream=self.info) for number, picture in enumerate(greys(3)))

    def close(self):
        self.closed = True


def test_a_source_object_is_used_as_it_is():
    ours = Ours("door")
    (spec,) = open_sources(ours)
    assert spec.open() is ours
    assert spec.name == "door"


def test_a_source_object_without_a_proper_info_is_refused():
    ours = Ours("door")
    ours.info = {"name": "door"}
    with pytest.raises(UsageError, match="it gave a value of type dict for its info, wanted a StreamInfo"):
        open_sources(ours)


def test_a_source_object_is_renamed_where_its_name_is_taken_or_fits_no_folder():
    ours = [Ours("door"), Ours("door"), Ours("a/b")]
    specs = open_sources(ours)
    assert [spec.name for spec in specs] == ["door", "door-2", "a-b"]
    renamed = specs[1].open()
    assert isinstance(renamed, Source)
    assert [frame.stream.name for frame in renamed] == ["door-2"] * 3
    assert (renamed.damaged, renamed.warnings) == (2, ("two are missing",))
    renamed.close()
    assert ours[1].closed


def test_sources_of_all_kinds_may_stand_in_one_list(tmp_path):
    path = synthetic_video(tmp_path / "a.mp4")
    given = [path, [str(path), Ours("a")], greys(2), open_sources(path)[0], SourceSpec(name="b", open=lambda: Ours("b"))]
    assert names(given) == ["a", "a-2", "a-3", "arrays", "a-4", "b"]
    assert all(isinstance(next(iter(spec.open())), Frame) for spec in open_sources(given))


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    synthetic_video(tmp_path / "a.mp4")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert names("~/a.mp4") == ["a"]
