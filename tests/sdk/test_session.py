import gc
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from framehook import Pipeline, StageError, UsageError
from framehook.testing import FixedDetector, MemorySink, OrderTracker, grey_image

PICTURE = grey_image(64, 48)


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": OrderTracker(), "classifiers": [], **given})


def test_each_push_returns_its_result_and_reaches_the_sinks():
    sink = MemorySink()
    with pipeline(sinks=[sink]).session("door camera") as session:
        results = [session.push(grey_image(64, 48), seconds=i / 10) for i in range(5)]
    assert [result.frame.seconds for result in results] == [0, 0.1, 0.2, 0.3, 0.4]
    assert [result.detections.tracks.tolist() for result in results] == [[1]] * 5
    assert [stream.name for stream in sink.opened] == ["door camera"]
    assert (len(sink.results), sink.ended[0].processed, sink.closed) == (5, 5, 1)


def test_without_a_time_it_is_the_time_since_the_session_began():
    with pipeline().session() as session:
        seconds = [session.push(grey_image(64, 48)).frame.seconds for _ in range(3)]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((48, 64), np.uint8), r"\(48, 64\)"),
        (np.zeros((48, 64, 3), np.float32), "float32"),
        (grey_image(32, 48), "began with pictures of 64 x 48, got 32 x 48"),
    ],
    ids=["grey", "floats", "another size"],
)
def test_a_picture_of_the_wrong_kind_is_refused_and_the_session_goes_on(image, message):
    with pipeline().session() as session:
        session.push(grey_image(64, 48), seconds=0)
        with pytest.raises(UsageError, match=message):
            session.push(image, seconds=1)
        assert len(session.push(grey_image(64, 48), seconds=2).detections) == 1


def test_a_plugin_that_raises_is_named_and_the_session_goes_on():
    with pipeline(detector=FixedDetector(fail_at=1)).session() as session:
        session.push(grey_image(64, 48), seconds=0)
        with pytest.raises(StageError, match="plugin 'FixedDetector' failed on frame 1"):
            session.push(grey_image(64, 48), seconds=1)
        assert session.push(grey_image(64, 48), seconds=2).frame.index == 2


def test_a_sink_that_failed_is_told_once_and_the_others_know_of_it():
    good = MemorySink()
    with pipeline(sinks=[MemorySink(fail_at=1), good]).session("door") as session:
        session.push(grey_image(64, 48), seconds=0)
        with pytest.raises(StageError, match="sink 'MemorySink' failed writing frame 1 of 'door'"):
            session.push(grey_image(64, 48), seconds=1)
        session.push(grey_image(64, 48), seconds=2)
    assert len(good.results) == 3
    assert "told to fail" in good.ended[0].error


@pytest.mark.parametrize("name", [5, None], ids=str)
def test_a_name_that_is_no_text_is_refused_at_once(name):
    with pytest.raises(UsageError, match=f"a session's name must be text, such as 'door camera', got {name}"):
        pipeline().session(name)


def test_a_time_that_falls_far_begins_anew_and_a_little_is_a_clocks_jitter():
    with pipeline(tracker="iou").session("door") as session:
        times = (0.0, 0.1, 0.2, 0.3, 0.29, 0.4, 9.0, 9.1, 9.2, 0.0, 0.1, 0.2, 0.3)
        tracks = [session.push(PICTURE, seconds=seconds).detections.tracks.tolist() for seconds in times]
    assert tracks[3:6] == [[1]] * 3
    assert tracks[-1] not in ([-1], [1], tracks[8])


def test_a_closed_session_takes_no_more():
    session = pipeline().session("door")
    session.close()
    session.close()
    with pytest.raises(UsageError, match="session 'door' is closed"):
        session.push(grey_image(64, 48))


@pytest.mark.parametrize(
    "seconds",
    [float("nan"), float("inf"), "1.5", Decimal("1.5"), 10**400, Fraction(10**400), np.timedelta64(1, "s")],
    ids=["nan", "inf", "text", "decimal", "long", "long fraction", "span of numpy"],
)
def test_a_time_that_is_none_is_refused_and_numbers_of_any_kind_are_taken(seconds):
    with pipeline().session("door") as session:
        with pytest.raises(UsageError, match="session 'door': seconds must be a finite number, got"):
            session.push(grey_image(64, 48), seconds=seconds)
        assert session.push(grey_image(64, 48), seconds=np.float32(0.5)).frame.seconds == 0.5


def test_two_threads_do_not_push_at_once():
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(FixedDetector):
        def detect(self, frames):
            at_work.set()
            go_on.wait(10)
            return super().detect(frames)

    with ThreadPoolExecutor(1) as pool, pipeline(detector=Slow()).session("door") as session:
        first = pool.submit(session.push, PICTURE)
        assert at_work.wait(10)
        with pytest.raises(UsageError, match="session 'door' is being pushed into: one picture at a time, or a session for each"):
            session.push(PICTURE)
        go_on.set()
        assert len(first.result().detections) == 1
        assert session.push(PICTURE).frame.index == 1


def test_a_session_that_a_program_leaves_open_is_whole(tmp_path):
    script = f"""
from framehook import Pipeline
from framehook.testing import FixedDetector, grey_image
pipeline = Pipeline(detector=FixedDetector(), classifiers=[], sinks=["jsonl", "summary"], out={str(tmp_path)!r})
session = pipeline.session("door")
session.push(grey_image(64, 48), seconds=0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert len((tmp_path / "door" / "detections.jsonl").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "door" / "summary.json").read_text())["statistics"]["processed"] == 1


def test_closing_waits_for_the_push_of_another_thread():
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(MemorySink):
        def write(self, result):
            at_work.set()
            go_on.wait(10)
            assert not self.closed
            super().write(result)

    sink = Slow()
    with ThreadPoolExecutor(2) as pool:
        session = pipeline(sinks=[sink]).session("door")
        push = pool.submit(session.push, PICTURE)
        assert at_work.wait(10)
        closing = pool.submit(session.close)
        go_on.set()
        push.result()
        closing.result()
    assert (len(sink.results), sink.closed) == (1, 1)


@pytest.mark.parametrize("told", ["write", "end", "close"])
def test_a_sink_may_close_its_session(told):
    class Closing(MemorySink):
        def _hear(self, name, *what):
            getattr(super(), name)(*what)
            if name == told:
                session.close()

        def write(self, result):
            self._hear("write", result)

        def end(self, stream, statistics):
            self._hear("end", stream, statistics)

        def close(self):
            self._hear("close")

    sink = Closing()
    session = pipeline(sinks=[sink]).session("door")
    session.push(PICTURE)
    session.close()
    assert (len(sink.results), len(sink.ended), sink.closed) == (1, 1, 1)


def test_a_forgotten_session_is_closed(caplog):
    class Full(MemorySink):
        def close(self):
            super().close()
            raise OSError("disk full")

    sink = Full()
    pipeline(sinks=[sink]).session("door").push(PICTURE)
    gc.collect()
    assert (sink.ended[0].processed, sink.closed) == (1, 1)
    assert "disk full" in caplog.text


def test_a_program_that_ends_does_not_wait_for_a_push_that_never_does():
    script = """
import threading
import framehook.session
from framehook import Pipeline
from framehook.testing import FixedDetector, grey_image

framehook.session._WAIT_AT_EXIT_SECONDS = 0.1
at_work = threading.Event()

class Stuck(FixedDetector):
    def detect(self, frames):
        at_work.set()
        threading.Event().wait()

session = Pipeline(detector=Stuck(), tracker=None, classifiers=[]).session("door")
threading.Thread(target=session.push, args=[grey_image(64, 48)], daemon=True).start()
at_work.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True, check=True)
    assert done.stderr == "session 'door' is left open: a push into it does not end; its files are not whole\n"
