"""A run ends whole whoever ends it: the loop, another thread, a plugin, the program's end."""

import csv
import gc
import itertools
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from framehook import Detections, Pipeline, RunError, SourceError, StageError, StreamInfo
from framehook.testing import FixedDetector, MemorySink, grey_image, make_frame

PICTURE = grey_image(64, 48)


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": None, "classifiers": [], "batch": 1, **given})


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


LEFT_OPEN = """
import os, sys
from framehook import Pipeline
from framehook.testing import FixedDetector, grey_image
run = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=["csv", "summary"], out=sys.argv[1]).run(
    [grey_image(64, 48)] * 400
)
for result in run:
    {leave}
"""


@pytest.mark.parametrize(
    ("leave", "status"), [("break", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("os.fork() or sys.exit(4); break", 0)]
)
def test_a_program_that_ends_within_its_loop_leaves_whole_files(tmp_path, leave, status):
    script = LEFT_OPEN.format(leave=leave)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, capture_output=True, check=False)
    assert done.returncode == status
    with (tmp_path / "arrays" / "detections.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) >= 1
    assert (tmp_path / "arrays" / "summary.json").exists()


class Leaving:
    """A plugin of any kind that ends itself, as a library's own sys.exit() does."""

    def __init__(self, error, where):
        self._error, self._where = error, where

    def _at(self, where):
        if where == self._where:
            raise self._error

    def detect(self, frames):
        self._at("detect")
        return [Detections.empty() for _ in frames]

    def analyze(self, result):
        self._at("analyze")
        return result

    def open(self, stream):
        self._at("open")

    def write(self, result):
        self._at("write")

    def close(self):
        self._at("close")


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize(
    ("kind", "where"),
    [("detector", "detect"), ("analyzers", "analyze"), ("sinks", "open"), ("sinks", "write"), ("sinks", "close")],
)
def test_a_plugin_that_would_end_the_program_ends_the_run_with_an_error(kind, where, error):
    plugin = Leaving(error, where)
    run = pipeline(**{kind: plugin if kind == "detector" else [plugin]}).run([PICTURE] * 5)
    with pytest.raises((StageError, RunError), match=type(error).__name__):
        list(run)
    assert run.statistics["arrays"].error or where == "close"


def test_a_source_that_would_end_the_program_ends_its_stream_with_an_error():
    def pictures():
        yield PICTURE
        raise SystemExit

    with pytest.raises(SourceError, match="source 'arrays' failed: SystemExit"):
        list(pipeline().run(pictures()))


def test_a_plugin_may_close_the_run_while_the_loop_is_elsewhere():
    in_body, closed = threading.Event(), threading.Event()

    class Closing:
        def analyze(self, result):
            if result.frame.index == 2:
                assert in_body.wait(10)
                run.close()
                closed.set()
            return result

    sink = MemorySink()
    run = pipeline(analyzers=[Closing], sinks=[sink]).run([PICTURE] * 100)
    got = []
    for result in run:
        got.append(result.frame.index)
        in_body.set()
        assert closed.wait(10)
    assert got == [result.frame.index for result in sink.results] == list(range(len(got)))
    assert 3 <= len(got) < 100
    assert sink.closed == 1


def test_a_forgotten_run_that_is_collected_on_its_own_thread_ends():
    class Collecting(FixedDetector):
        def detect(self, frames):
            gc.collect()
            return super().detect(frames)

    def forget():
        run = pipeline(detector=Collecting()).run([PICTURE] * 50)
        cycle = [run]
        cycle.append(cycle)
        next(run)
        return threading.enumerate()

    threads = [thread for thread in forget() if thread.name.startswith("framehook")]
    assert threads
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_a_forgotten_run_waits_for_no_thread_that_waits_for_the_one_that_forgot_it(monkeypatch, caplog):
    monkeypatch.setattr("framehook.engine._PATIENCE_SECONDS", 0.1)
    lock, waits = threading.Lock(), threading.Event()

    class Locking(FixedDetector):
        def detect(self, frames):
            if frames[0].index == 3:  # for which there is room, though only the first result is taken
                waits.set()
                with lock:
                    return super().detect(frames)
            return super().detect(frames)

    def forget():
        lock.acquire()
        run = pipeline(detector=Locking(), batch=1).run([PICTURE] * 100)
        next(run)
        assert waits.wait(20)
        return threading.enumerate()

    threads = forget()
    assert "a run that was left does not end: its threads go on alone" in caplog.text
    lock.release()
    for thread in threads:
        if thread.name.startswith("framehook"):
            thread.join(20)


class Endless:
    """A source that gives frames until it is closed."""

    def __init__(self):
        self.info = StreamInfo(name="door", width=64, height=48)
        self.ahead, self.closed = threading.Event(), threading.Event()

    def __iter__(self):
        for i in itertools.count():
            if i == 3:
                self.ahead.set()
            yield make_frame(PICTURE, index=i, stream=self.info)

    def close(self):
        self.closed.set()


def run_that_another_thread_iterates(pool, sink):
    """Return a run, and its first result to be, which waits until the run is closed; more are on their way than may wait."""
    source = Endless()

    class Waiting(FixedDetector):
        def detect(self, frames):
            assert source.closed.wait(10)
            return super().detect(frames)

    run = pipeline(detector=Waiting(), sinks=[sink]).run(source)
    first = pool.submit(next, run)
    assert source.ahead.wait(10)
    return run, first


def test_a_run_is_whole_once_it_is_closed_though_the_thread_that_iterates_does_not_come_back():
    sink = MemorySink()
    with ThreadPoolExecutor(1) as pool:
        run, first = run_that_another_thread_iterates(pool, sink)
        run.close()
        assert sink.closed == 1
        assert first.result().frame.index == 0
    rest = [result.frame.index for result in run]
    assert [0, *rest] == [result.frame.index for result in sink.results]
    assert len(rest) > 1


def test_what_fails_while_another_thread_iterates_is_raised_where_the_run_is_closed():
    class Full(MemorySink):
        def close(self):
            raise OSError("disk full")

    with ThreadPoolExecutor(1) as pool:
        run, first = run_that_another_thread_iterates(pool, Full())
        with pytest.raises(StageError, match="sink 'Full' failed closing: OSError: disk full"):
            run.close()
        assert first.result().frame.index == 0


@pytest.mark.parametrize("nth", [1, 2, 3], ids=["decoding", "inference", "sinks"])
@pytest.mark.parametrize("interrupt", [True, False], ids=["interrupt", "no more threads"])
def test_a_run_that_cannot_begin_leaves_nothing_behind(monkeypatch, nth, interrupt):
    starts, start = itertools.count(1), threading.Thread.start

    def start_some(thread):
        fails = next(starts) == nth
        if interrupt or not fails:
            start(thread)
        if fails:
            raise KeyboardInterrupt if interrupt else RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start_some)
    sink = MemorySink()
    run = pipeline(sinks=[sink]).run([PICTURE] * 100)
    with pytest.raises(KeyboardInterrupt if interrupt else RunError, match=None if interrupt else "no more can be started"):
        next(run)
    assert sink.closed == 1


FORKED = """
import os, sys
from framehook import ArraySource, Pipeline, UsageError
from framehook.testing import FixedDetector, grey_image

class Source(ArraySource):
    def close(self):
        print("closed", flush=True)
        super().close()

pipeline = Pipeline(detector=FixedDetector(), tracker=None, classifiers=[], sinks=["jsonl"], out=sys.argv[1])
picture = grey_image(64, 48)
run, session = pipeline.run(Source([picture] * 400)), pipeline.session("door")
next(run)
session.push(picture)
child = os.fork()
if not child:
    for go_on in (lambda: next(run), lambda: session.push(picture)):
        try:
            go_on()
        except UsageError as error:
            print(error, flush=True)
    run.close()
    session.close()
    sys.exit()
os.waitpid(child, 0)
print("parent", flush=True)
session.push(picture)
run.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_can_neither_use_nor_close_what_it_has_inherited(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path)], timeout=60, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "a run belongs to the process that made it, and this one was forked off: make another run here",
        "session 'door' belongs to the process that opened it, and this one was forked off: open another here",
        "parent",
        "closed",
    ]
    assert len((tmp_path / "door" / "detections.jsonl").read_text().splitlines()) == 2


def test_the_loop_gets_all_that_the_sinks_got_however_slow_a_batch_is():
    class Slow(FixedDetector):
        def detect(self, frames):
            time.sleep(1.2)  # longer than the loop waits at once
            return super().detect(frames)

    sink = MemorySink()
    run = pipeline(detector=Slow(), sinks=[sink]).run([PICTURE] * 20)
    closing = threading.Timer(1.5, run.close)
    closing.start()
    got = [result.frame.index for result in run]
    closing.join()
    assert got == [result.frame.index for result in sink.results]
    assert got


def test_what_fails_after_the_loop_was_left_is_raised_unless_something_else_is(caplog):
    class Full(MemorySink):
        def close(self):
            raise OSError("disk full")

    with (
        pytest.raises(StageError, match="sink 'Full' failed closing: OSError: disk full"),
        pipeline(sinks=[Full()]).run([PICTURE] * 9) as run,
    ):
        next(run)
    with (
        caplog.at_level(logging.ERROR, logger="framehook"),
        pytest.raises(ValueError, match="the caller's own"),
        pipeline(sinks=[Full()]).run([PICTURE] * 9) as run,
    ):
        raise ValueError(f"the caller's own, at {next(run).frame.index}")
    assert "disk full" in caplog.text


def test_of_two_equal_sinks_the_one_that_fails_is_lost():
    @dataclass
    class Counting:
        seen: list = field(default_factory=list, compare=False)
        fails: bool = field(default=False, compare=False)

        def open(self, stream):
            pass

        def write(self, result):
            self.seen.append(result.frame.index)
            if self.fails:
                raise OSError("gone")

        def close(self):
            pass

    good, bad = Counting(), Counting(fails=True)
    list(pipeline(sinks=[good, bad], on_error="isolate").run([PICTURE] * 4))
    assert (good.seen, bad.seen) == ([0, 1, 2, 3], [0])


class Waiting:
    """A source that gives one frame, and then waits for the next one until it is closed."""

    def __init__(self, name, *, live, complains):
        self.info = StreamInfo(name=name, width=64, height=48, live=live)
        self.complains = complains
        self.waits, self.closed = threading.Event(), threading.Event()

    def __iter__(self):
        yield make_frame(PICTURE, stream=self.info)
        self.waits.set()
        self.closed.wait()
        if self.complains:
            raise OSError("connection lost")

    def close(self):
        self.closed.set()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("complains", [True, False])
def test_a_source_that_waits_is_closed_when_the_run_ends(live, complains, caplog):
    sources = [Waiting(name, live=live, complains=complains) for name in ("door", "gate")]
    with pipeline().run(sources) as run:
        next(iter(run))
        assert all(source.waits.wait(10) for source in sources)
    assert all(source.closed.is_set() for source in sources)
    assert all(statistics.interrupted for statistics in run.statistics.values())
    assert not any(statistics.error for statistics in run.statistics.values())
    assert not caplog.records
