"""Reading from the network: times that nobody sends, streams that are lost, and such as can no longer be decoded."""

import socket
import threading
import time
import traceback
from itertools import islice, pairwise

import cv2
import pytest

from framehook import Pipeline, SourceError, VideoSource
from framehook.testing import FixedDetector, grey_image, grey_of
from framehook.timeline import Timeline

WAIT_SECONDS = 1.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: "


def times_of(source):
    try:
        return [frame.seconds for frame in source]
    finally:
        source.close()


def test_frames_of_a_stream_without_times_have_those_at_which_they_came(serving):
    go_on = threading.Event()

    def camera(connection):
        connection.recv(4096)
        connection.sendall(HEAD + b"multipart/x-mixed-replace; boundary=next\r\n\r\n")
        for number in range(6):
            if number == 3:
                go_on.wait(10)
            jpeg = cv2.imencode(".jpg", grey_image(64, 48, value=grey_of(number)))[1].tobytes()
            connection.sendall(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
        connection.sendall(b"--next--\r\n")

    with serving(camera) as port:
        source = VideoSource(f"http://127.0.0.1:{port}/", name="door", live=True)
        frames = iter(source)
        before = [next(frames).seconds for _ in range(2)]
        asked = time.monotonic()
        threading.Timer(0.5, go_on.set).start()
        after = [frame.seconds for frame in islice(frames, 3)]
        took = time.monotonic() - asked
        source.close()
    assert source.info.rate is None
    assert before[0] >= 0
    assert 0.4 <= max(b - a for a, b in pairwise(before + after)) <= took


@pytest.fixture(scope="module")
def broadcast(encode, tmp_path_factory):
    """MPEG-TS of H.264."""
    return encode(tmp_path_factory.mktemp("live") / "a.ts", frames=50).read_bytes()


def playlist(*, ended):
    end = "#EXT-X-ENDLIST\n" if ended else ""
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:2.0,\na.ts\n{end}".encode()


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "stalled"])
def test_a_playlist_that_stops_growing_is_a_lost_stream_unless_it_says_that_it_has_ended(broadcast, ends, serving):
    lists = []

    def server(connection):
        asked = (*connection.recv(4096).split(), b"", b"")[1]
        if asked.endswith(b".m3u8"):
            lists.append(asked)
            kind, body = b"application/vnd.apple.mpegurl", playlist(ended=ends and len(lists) > 1)
        else:
            kind, body = b"video/mp2t", broadcast
        connection.sendall(HEAD + kind + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)

    with serving(server) as port:
        source = VideoSource(f"http://127.0.0.1:{port}/a.m3u8", name="door", timeout_seconds=WAIT_SECONDS)
        assert source.info.live
        if ends:
            assert len(times_of(source)) == 50
        else:
            with pytest.raises(SourceError, match="was interrupted: no answer in time; check the connection"):
                times_of(source)


def test_a_stream_that_sends_nothing_that_can_be_decoded_is_lost(broadcast, encode, tmp_path, serving):
    other = encode(tmp_path / "b.ts", frames=50, codec="mpeg2video").read_bytes()  # as after a change of the camera's settings

    def camera(connection):
        connection.sendall(broadcast)
        while True:
            connection.sendall(other)
            time.sleep(0.02)  # a sender's pace: as fast as it can is none

    with serving(camera) as port:
        source = VideoSource(f"tcp://127.0.0.1:{port}", name="door", live=True, timeout_seconds=0.5)
        with pytest.raises(SourceError, match="sends nothing any more that can be decoded; check its settings"):
            times_of(source)


def test_an_end_of_a_live_stream_counts_from_its_first_frame(encode, tmp_path, serving):
    late = encode(tmp_path / "a.ts", frames=50, pts=list(range(2_000_000, 2_000_050))).read_bytes()
    with serving(lambda connection: connection.sendall(late)) as port:
        run = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], end=1).run(f"tcp://127.0.0.1:{port}")
        seconds = [result.frame.seconds for result in run]
    assert seconds[0] > 10_000
    assert 0 < len(seconds) <= 25
    assert seconds[-1] - seconds[0] < 1


def test_no_traceback_shows_a_password():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    password = "".join(["sec", "ret"])  # the lines of this file are in the traceback, too
    address = f"http://admin:{password}@127.0.0.1:{port}/x?key={password}"
    try:
        VideoSource(address, name="door")
    except SourceError:
        assert password not in traceback.format_exc()
    else:
        pytest.fail("there is no server")


def test_a_clock_that_begins_anew_goes_on():
    timeline = Timeline(1 / 90_000, begins=0, span=(None, None), stated_seconds=None, exact=False, listed=False, wraps_at=2**33)
    step = 2**31
    assert [timeline.time_of(i * step % 2**33, 0) for i in range(12)] == [i * step for i in range(12)]
    assert timeline.time_of(11 * step % 2**33 - 5, 0) == 11 * step - 5  # a little back is no new round
