"""Live sources that are lost, and opened again."""

import logging
import re
import threading
import time
from contextlib import closing
from fractions import Fraction
from itertools import islice, pairwise, takewhile

import cv2
import pytest
from PIL import Image

from framehook import ArrayPicture, Frame, Pipeline, SourceError, SourceSpec, StreamInfo, VideoSource, hookimpl, load_plugins
from framehook.reconnecting import ReconnectingSource
from framehook.testing import FixedDetector, MemorySink, grey_image

WAIT = 0.05
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n"


class Camera:
    """Gives so many frames, and breaks."""

    def __init__(self, frames, *, size=(64, 48), time_base=Fraction(1, 1000), begins=0, live=True, error=None):
        self.info = StreamInfo(name="door", width=size[0], height=size[1], live=live)
        self.damaged, self.warnings, self.closed = 1, (f"{frames} frames",), False
        self._frames = frames
        self._time_base, self._begins = time_base, begins
        self._error = error or SourceError("the door was interrupted; check the connection")

    def __iter__(self):
        for number in range(self._frames):
            picture = ArrayPicture(grey_image(self.info.width, self.info.height))
            pts = self._begins + round(number * Fraction(1, 25) / self._time_base)
            yield Frame(stream=self.info, index=number, pts=pts, time_base=self._time_base, picture=picture)
            time.sleep(0.01)  # a camera's pace: else frames are dropped
        raise self._error

    def close(self):
        self.closed = True


def opening(*connections):
    """Return what gives one of these after the other, or raises it; the last one stays."""
    left = list(connections)

    def connect():
        each = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(each, Exception):
            raise each
        return each

    return connect


def runs(*connections, live=True, sinks=(), **given):
    spec = SourceSpec(name="door", open=opening(*connections), live=live, location="rtsp://door")
    settings = {"reconnect": WAIT, "batch": 1, **given}
    return Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=sinks, **settings).run([spec])


def reconnecting(*connections, told=None, **given):
    """The source without the engine, which may drop frames."""
    settings = {"wait_seconds": WAIT, "patient": False, "stopping": threading.Event(), **given}
    return ReconnectingSource(opening(*connections), tell=[].append if told is None else told.append, **settings)


def frames_of(*connections, count, **given):
    with closing(reconnecting(*connections, **given)) as source:
        return list(islice(source, count))


def test_numbers_and_time_go_on_over_connections(caplog):
    connections = [Camera(4), Camera(3, begins=5_000), Camera(10)]
    frames = frames_of(*connections, count=12)
    assert [frame.index for frame in frames] == list(range(12))
    assert {frame.stream.name for frame in frames} == {"door"}
    steps = [after.seconds - before.seconds for before, after in pairwise(frames)]
    gaps = [steps.pop(6), steps.pop(3)]
    assert all(WAIT <= gap < 5 for gap in gaps)
    assert steps == pytest.approx([0.04] * 9)
    assert all(connection.closed for connection in connections)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    assert "the door was interrupted; check the connection; it is tried again every 0.05 s" in caplog.text
    assert "'door' is back after 0." in caplog.text


def test_a_camera_that_comes_back_with_other_settings_keeps_size_and_clock():
    other = Camera(10, size=(128, 96), time_base=Fraction(1, 90_000), begins=7 * 90_000)
    frames = frames_of(Camera(3), other, count=6)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert {frame.resized(32, 24).shape for frame in frames} == {(24, 32, 3)}
    assert {frame.time_base for frame in frames} == {Fraction(1, 1000)}
    assert [after.pts - before.pts for before, after in pairwise(frames[3:])] == [40, 40]


def test_a_plugin_may_lose_its_camera_in_its_own_words():
    frames = frames_of(Camera(2, error=ConnectionResetError("reset by peer")), Camera(9), count=4)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_a_loss_is_told_before_the_first_frame_after_it():
    told = []
    with closing(reconnecting(Camera(4), Camera(50), told=told)) as source:
        frames = iter(source)
        before = list(islice(frames, 4))
        assert told == []
        next(frames)
    [event] = told
    assert (event.kind, event.seconds, event.track) == ("camera-lost", before[-1].seconds, -1)
    assert event.details["reason"] == "the door was interrupted; check the connection"
    assert WAIT <= event.details["seconds_lost"] < 60
    assert source.damaged == 2
    assert source.warnings[0].startswith("lost once, for ")
    assert source.warnings[0].endswith(" s altogether, first at 0.12 s: the door was interrupted; check the connection")
    assert source.warnings[1:] == ("50 frames",)  # of the last connection only: a year has many


def test_attempts_that_bring_no_frame_belong_to_one_loss(caplog):
    told = []
    frames = frames_of(Camera(2), *[Camera(0)] * 5, Camera(50), count=4, told=told)
    assert len(frames) == 4
    [event] = told
    assert event.details["seconds_lost"] >= 6 * WAIT
    assert frames[2].seconds - frames[1].seconds >= 6 * WAIT
    assert len(caplog.records) == 2  # lost, and back


def test_results_tell_of_a_loss():
    sink = MemorySink()
    with runs(Camera(4), Camera(50), sinks=[sink]) as run:
        list(takewhile(lambda result: not result.events, run))
    [after] = [result for result in sink.results if result.events]
    assert after.frame.seconds >= after.events[0].seconds + WAIT
    [statistics] = sink.ended
    assert statistics.error == ""
    assert statistics.warnings[0].startswith("lost once")


def test_a_camera_that_stays_away_is_told_with_how_long():
    source = reconnecting(Camera(2), SourceError("no answer"), end_seconds=0.3)
    assert len(list(source)) == 2  # its end comes while it is away
    assert float(re.search(r"lost once, for ([\d.]+) s", source.warnings[0])[1]) >= 0.2


def test_a_connection_that_cannot_even_be_closed_is_opened_again():
    class Broken(Camera):
        def close(self):
            raise BrokenPipeError("flush")

    assert len(frames_of(Broken(2), Camera(50), count=4)) == 4


def test_a_coarse_clock_gives_no_time_twice():
    frames = frames_of(Camera(2, time_base=Fraction(1, 10)), Camera(50), count=12)
    assert all(before.pts < after.pts for before, after in pairwise(frames[1:]))


def test_every_connection_is_held_against_the_contract():
    class Strange(Camera):
        def __iter__(self):
            yield "a picture"

    with pytest.raises(ValueError, match="gave a value of type str for a frame"):
        frames_of(Camera(2), Strange(2), count=4)


def test_a_plugin_may_connect_in_its_constructor():
    left = [Camera(3), ConnectionRefusedError("no route"), Camera(50)]

    class Gige:
        def __init__(self, *, address: str) -> None:
            self._camera = left.pop(0)
            if isinstance(self._camera, Exception):
                raise self._camera
            self.info = self._camera.info

        def __iter__(self):
            return iter(self._camera)

        def close(self):
            self._camera.close()

    class Plugin:
        @hookimpl
        def framehook_register_sources(self, register):
            register("gige", Gige)

    plugins = load_plugins(extra=[Plugin()])
    pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], reconnect=WAIT, plugins=plugins)
    with pipeline.run("gige://1") as run:
        assert any(result.events for result in islice(run, 20))


def test_a_camera_is_waited_for_from_the_start(caplog):
    absent = SourceError("no answer")
    with runs(absent, absent, Camera(9)) as run:
        next(run)
    assert [record.getMessage() for record in caplog.records] == [f"no answer; it is tried again every {WAIT:g} s"]  # once


def test_an_address_that_may_be_of_a_recording_is_not_waited_for():
    with pytest.raises(SourceError, match="no answer"):
        list(runs(SourceError("no answer"), Camera(9), live=False))


def test_a_recording_that_breaks_is_not_begun_anew():
    with pytest.raises(SourceError, match="interrupted"):
        list(runs(Camera(3, live=False), Camera(9), live=False))


def test_without_reconnecting_a_lost_camera_is_an_error():
    with pytest.raises(SourceError, match="interrupted"):
        list(runs(Camera(3), Camera(9), reconnect=None))


@pytest.mark.parametrize("first", [Camera(3), SourceError("no answer")], ids=["lost", "never there"])
def test_a_run_that_is_closed_waits_for_no_camera(first):
    run = runs(first, reconnect=600)
    threading.Timer(0.3, run.close).start()
    asked = time.monotonic()
    results = list(run)
    assert time.monotonic() - asked < 4
    assert bool(results) is isinstance(first, Camera)
    assert run.statistics["door"].interrupted
    assert run.statistics["door"].error == ""


def test_what_is_opened_when_the_run_has_ended_is_closed_at_once():
    going = threading.Event()
    late = Camera(100)

    def connect():
        going.set()
        time.sleep(0.4)
        return late

    spec = SourceSpec(name="door", open=connect, live=True)
    run = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], reconnect=WAIT).run([spec])
    threading.Thread(target=lambda: (going.wait(5), run.close())).start()
    assert list(run) == []
    assert late.closed


def test_a_fault_of_a_plugin_is_no_loss():
    with pytest.raises(SourceError, match="KeyError"):
        list(runs(Camera(2, error=KeyError("format")), Camera(9)))


def test_a_source_that_is_given_opened_cannot_be_opened_again():
    run = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], reconnect=WAIT).run(Camera(3))
    with pytest.raises(SourceError, match="interrupted"):
        list(run)


def test_an_address_is_opened_again_when_its_sender_has_closed_it(serving, caplog):
    caplog.set_level(logging.ERROR)
    jpeg = cv2.imencode(".jpg", grey_image(64, 48))[1].tobytes()

    def camera(connection):
        connection.recv(4096)
        connection.sendall(HEAD)
        for _ in range(6):
            connection.sendall(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
            time.sleep(0.02)

    with serving(camera) as port:
        pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], reconnect=WAIT)
        with pipeline.run(f"http://127.0.0.1:{port}/") as run:
            results = list(islice(run, 10))
    assert [result.frame.index for result in results] == sorted({result.frame.index for result in results})
    seconds = [result.frame.seconds for result in results]
    assert seconds == sorted(set(seconds))
    assert any(event.kind == "camera-lost" for result in results for event in result.events)


@pytest.mark.parametrize("kind", ["png", "gif", "ts"])
def test_a_file_that_is_served_whole_is_not_begun_anew(serving, encode, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "ts":
        encode(path, frames=20)
    else:
        more = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "red")]} if kind == "gif" else {}
        Image.new("RGB", (64, 48)).save(path, **more)

    def server(connection):
        connection.recv(4096)
        body = path.read_bytes()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)

    with serving(server) as port:
        run = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], reconnect=WAIT).run(
            f"http://127.0.0.1:{port}/a.{kind}"
        )
        results = list(run)
    assert 1 <= len(results) <= 20
    assert not any(result.events for result in results)


def test_a_connection_that_is_closed_is_an_end_or_a_loss(serving, encode, tmp_path):
    broadcast = encode(tmp_path / "a.ts", frames=20).read_bytes()
    with serving(lambda connection: connection.sendall(broadcast)) as port:
        with VideoSource(f"tcp://127.0.0.1:{port}", name="door", live=True) as source:
            assert len(list(source)) == 20
        with (
            VideoSource(f"tcp://127.0.0.1:{port}", name="door", live=True, sender_ends=False) as source,
            pytest.raises(SourceError, match="the connection was closed"),
        ):
            list(source)
