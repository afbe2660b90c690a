"""Reading: what is opened, what cannot be, and how it ends. Times, pictures, damage and writing have files of their own."""

import gc
import random
import socket
import threading
import wave
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from framehook import SourceError, SourceNotFoundError, VideoSource, VideoWriter
from framehook.testing import frame_number, synthetic_video
from framehook.video import codecs

TILED = Path(__file__).with_name("tiled.avif")  # four one-coloured PNG files of 64 x 64, by libavif's `avifenc --grid 2x2`


def test_of_several_streams_the_best_video_is_read(shared_videos):
    with VideoSource(shared_videos / "nasa_13013.mp4", name="nasa") as source:
        assert (source.info.width, source.info.height, source.info.frames) == (480, 270, 390)


def test_what_the_container_says_is_in_the_stream_info(tmp_path):
    info = VideoSource(synthetic_video(tmp_path / "a.mp4", frames=10, width=66, height=48, rate=20), name="a").info
    assert (info.name, info.width, info.height, info.rate, info.frames, info.live) == ("a", 66, 48, Fraction(20), 10, False)
    assert info.duration_seconds == pytest.approx(0.5)


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
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux([*stream.encode(samples), *stream.encode(None)])


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


def test_a_live_stream_that_falls_silent_is_an_error_after_its_frames(tmp_path, encode):
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


def test_decoding_ahead_gives_the_same_frames(tmp_path, encode):
    path = encode(tmp_path / "a.mp4", b_frames=2)
    assert [frame_number(frame.image) for frame in VideoSource(path, name="a", threads=4)] == list(range(40))


def test_libav_reads_and_writes_what_we_need():
    assert all(codecs().values())
    assert codecs().keys() >= {"h264 decoder", "h264 encoder"}
