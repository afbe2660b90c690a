import itertools
import json
import signal
import threading
import time
from contextlib import nullcontext
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from PIL import Image

from framehook import (
    Event,
    FrameResult,
    Pipeline,
    SourceError,
    SourceSpec,
    StageError,
    StreamInfo,
    hookimpl,
    load_plugins,
)
from framehook.analysis import Analysis
from framehook.stages import Stages
from framehook.stream_state import Counters, StreamState
from framehook.testing import FixedDetector, MemorySink, OrderTracker, grey_image, make_frame


def images(n, value=0):
    return [grey_image(64, 48, value=value) for _ in range(n)]


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": OrderTracker(), "classifiers": [], **given})


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_a_run_says_how_much_longer_it_took_than_its_busiest_thread():
    class Slow(FixedDetector):
        def detect(self, frames):
            time.sleep(0.02)
            return super().detect(frames)

    run = pipeline(detector=Slow(), batch=1).run(images(10))
    assert len(list(run)) == 10
    [statistics] = run.statistics.values()
    assert 1 <= statistics.overhead < statistics.seconds / 0.2


def test_the_statistics_of_a_stream_may_be_asked_for_while_it_is_analysed():
    class Analysed(Counters):
        analysed = itertools.count()
        inference_seconds = property(lambda self: float(next(self.analysed)), lambda self, seconds: None)

    assert Analysed().statistics("door").overhead is None


def test_a_span_without_a_picture_is_told_and_a_picture_alone_has_no_time(tmp_path):
    late = pipeline(start=60)
    with pytest.raises(SourceError, match=r"source 'arrays' gave no frame: .* if a start or an end was asked for, choose others"):
        list(late.run(images(5)))
    Image.fromarray(grey_image(64, 48)).save(tmp_path / "photo.png")
    assert [len(list(late.run(source))) for source in (images(1), tmp_path / "photo.png")] == [1, 1]


def test_every_frame_of_a_recording_comes_out_in_order():
    sink = MemorySink()
    results = list(pipeline(sinks=[sink]).run(images(100)))
    assert [result.frame.index for result in results] == list(range(100))
    assert [result.frame.index for result in sink.results] == list(range(100))
    assert sink.closed == 1
    [statistics] = sink.ended
    assert (statistics.decoded, statistics.processed, statistics.dropped, statistics.detections) == (100, 100, 0, 100)


def test_several_streams_keep_their_own_order():
    results = list(pipeline().run([iter(images(30)), iter(images(20)), iter(images(25))]))
    by_stream = {}
    for result in results:
        by_stream.setdefault(result.frame.stream.name, []).append(result.frame.index)
    assert sorted(map(len, by_stream.values())) == [20, 25, 30]
    assert all(indices == sorted(indices) for indices in by_stream.values())


def test_a_pipeline_can_be_run_again():
    again = pipeline()
    assert [len(list(again.run(images(7)))), len(list(again.run(images(9))))] == [7, 9]


def test_leaving_the_loop_early_closes_everything_whole():
    sink = MemorySink()
    for result in pipeline(sinks=[sink]).run(images(1000)):
        if result.frame.index == 5:
            break
    assert sink.closed == 1
    assert sink.ended[0].interrupted
    assert [result.frame.index for result in sink.results] == list(range(len(sink.results)))
    assert 5 < len(sink.results) < 100


def test_close_is_harmless_before_the_first_result_and_twice():
    sink = MemorySink()
    run = pipeline(sinks=[sink]).run(images(10))
    run.close()
    run.close()
    assert list(run) == []
    assert sink.closed == 1


class Camera:
    """A live source that has no end of its own, and after five frames takes its time."""

    def __init__(self, name="door", *, when_idle=lambda: None):
        self.info = StreamInfo(name=name, width=64, height=48, rate=Fraction(25), live=True)
        self._when_idle = when_idle
        self._closed = threading.Event()

    def __iter__(self):
        for i in itertools.count():
            yield make_frame(grey_image(64, 48), index=i, seconds=i / 25, stream=self.info)
            if i == 4:
                self._when_idle()
            if i >= 4 and self._closed.wait(timeout=0.02):
                return

    def close(self):
        self._closed.set()


def test_another_thread_may_close_a_run_that_waits():
    idle, sink = threading.Event(), MemorySink()
    run = pipeline(sinks=[sink]).run(Camera(when_idle=idle.set))
    closing = threading.Thread(target=lambda: (idle.wait(10), run.close()))
    closing.start()
    assert len(list(run)) <= len(sink.results)
    closing.join()
    run.close()
    assert (sink.closed, sink.ended[0].interrupted) == (1, True)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
def test_a_signals_handler_may_close_the_run_that_it_interrupts():
    camera = Camera(when_idle=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1))
    run = pipeline().run(camera)
    before = signal.signal(signal.SIGUSR1, lambda *_: run.close())
    try:
        assert len(list(run)) >= 1
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert run.statistics["door"].interrupted


def test_sources_that_turn_out_to_be_live_do_not_keep_others_waiting():
    specs = [SourceSpec(name=f"camera {i}", open=partial(Camera, f"camera {i}")) for i in range(4)]
    seen = set()
    with pipeline().run([*specs, iter(images(10))]) as run:
        for result in run:
            seen.add(result.frame.stream.name)
            if len(seen) == 5 and run.statistics["arrays"].processed == 10:
                break
    assert seen == {*(spec.name for spec in specs), "arrays"}


def test_ctrl_c_ends_the_run_as_the_end_of_the_stream_would():
    sink = MemorySink()
    run = pipeline(sinks=[sink]).run(images(1000))
    next(run)
    with pytest.raises(KeyboardInterrupt):
        run._results.throw(KeyboardInterrupt)
    assert sink.closed == 1
    assert sink.ended[0].processed == len(sink.results)


def test_a_detector_that_raises_is_named_and_what_came_before_is_written():
    sink = MemorySink()
    run = pipeline(detector=FixedDetector(fail_at=42), sinks=[sink]).run(images(100))
    seen = []
    with pytest.raises(StageError, match=r"plugin 'FixedDetector' failed on frame 42 \(1\.680 s\) of stream 'arrays': Runtime"):
        seen.extend(result.frame.index for result in run)
    assert [result.frame.index for result in sink.results] == list(range(42))
    assert "told to fail" in sink.ended[0].error
    assert sink.closed == 1


def test_a_failing_sink_ends_the_run_or_just_itself():
    with pytest.raises(StageError, match=r"sink 'MemorySink' failed writing frame 3 of 'arrays': RuntimeError"):
        list(pipeline(sinks=[MemorySink(fail_at=3)]).run(images(50)))
    good, bad = MemorySink(), MemorySink(fail_at=3)
    assert len(list(pipeline(sinks=[bad, good], on_error="isolate").run(images(50)))) == 50
    assert (len(bad.results), len(good.results)) == (3, 50)
    assert "the run went on without it" in good.ended[0].warnings[0]
    assert good.ended[0].lost_sinks == ("MemorySink",)


class Late:
    """A sink that fails when it is closed, or as a stream ends."""

    def __init__(self, fails="close"):
        self.fails = fails

    def open(self, stream):
        pass

    def write(self, result):
        pass

    def end(self, stream, statistics):
        if self.fails == "end":
            raise OSError(f"disk {self.fails}")

    def close(self):
        if self.fails == "close":
            raise OSError(f"disk {self.fails}")


@pytest.mark.parametrize("fails", ["close", "end"])
@pytest.mark.parametrize("on_error", ["raise", "isolate"])
@pytest.mark.parametrize("first", [True, False], ids=["the summary first", "the summary last"])
def test_a_sink_that_fails_at_its_end_is_no_longer_vouched_for(tmp_path, fails, on_error, first):
    sinks = ["summary", Late(fails), "csv"] if first else [Late(fails), "summary"]
    run = pipeline(sinks=sinks, on_error=on_error, out=tmp_path).run([iter(images(3)), iter(images(3))])
    with pytest.raises(StageError, match=f"sink 'Late' failed .*disk {fails}") if on_error == "raise" else nullcontext():
        list(run)
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("*/summary.json")]
    assert {(one["complete"], *one["statistics"]["lost_sinks"]) for one in summaries} == {(False, "Late")}


def test_of_several_sinks_that_fail_all_are_told(caplog):
    with pytest.raises(StageError, match="sink 'Late' failed closing: OSError: disk close"):
        list(pipeline(sinks=[Late(), Late()]).run(images(3)))
    assert [record.getMessage() for record in caplog.records] == ["sink 'Late' failed closing: OSError: disk close"]


def test_a_plugin_that_fails_on_batches_alone_is_told_of_once(caplog):
    class Small(FixedDetector):
        def detect(self, frames):
            if len(frames) > 1:
                raise MemoryError("2 GiB")
            return super().detect(frames)

    stages = Stages(detector=Small(), make_tracker=None, classifiers=[], make_analyzers=[], names={})
    analysis, counters = Analysis(stages), Counters()
    state = StreamState(StreamInfo(name="door", width=64, height=48), stages, counters)
    frames = [make_frame(image, index=i, stream=state.stream) for i, image in enumerate(images(8))]
    for start in (0, 4):
        results, error = analysis.process([(state, frame) for frame in frames[start : start + 4]])
        assert (len(results), error) == (4, None)
    told = "plugin 'Small' failed on 4 frames at once (MemoryError: 2 GiB), and not frame by frame: choose a smaller batch"
    assert counters.warnings == [told]
    assert [record.getMessage() for record in caplog.records] == [told]


def test_a_sink_that_is_lost_is_missing_from_later_streams_too():
    good, bad = MemorySink(), MemorySink(fail_at=3)

    def later():
        yield from images(1)  # which is looked at before the run
        until = time.monotonic() + 20
        while not bad.closed and time.monotonic() < until:  # as it is once it has failed
            time.sleep(0.01)
        yield from images(1)

    list(pipeline(sinks=[bad, good], on_error="isolate").run([iter(images(5)), later()]))
    assert [ended.lost_sinks for ended in good.ended] == [("MemorySink",)] * 2


def test_a_source_that_fails_ends_its_own_stream_only():
    def broken():
        yield from images(5)
        raise OSError("the cable is out")

    sink = MemorySink()
    run = pipeline(sinks=[sink]).run([broken(), iter(images(20))])
    with pytest.raises(SourceError, match=r"source 'arrays' failed: OSError: the cable is out"):
        list(run)
    assert sorted(statistics.processed for statistics in sink.ended) == [5, 20]
    assert run.statistics["arrays"].error


def test_a_plugin_whose_hook_fails_leaves_the_hooks_of_others_alone():
    heard = []

    class Failing:
        @hookimpl
        def framehook_stream_started(self, stream):
            raise RuntimeError("no disk")

    class Hearing:
        @hookimpl
        def framehook_stream_started(self, stream):
            heard.append(("started", stream.name))

        @hookimpl
        def framehook_stream_ended(self, stream, statistics):
            heard.append(("ended", stream.name, statistics.lost_sinks))

    plugins = load_plugins(extra=[Hearing(), Failing()])
    list(pipeline(plugins=plugins, on_error="isolate").run([iter(images(2)), iter(images(2))]))
    lost = ("hooks of Failing/Failing",)
    assert heard[0] in [("started", "arrays"), ("started", "arrays-2")]  # both are decoded at once
    assert sorted(heard) == [
        ("ended", "arrays", lost),
        ("ended", "arrays-2", lost),
        ("started", "arrays"),
        ("started", "arrays-2"),
    ]
    with pytest.raises(StageError, match=r"sink 'hooks of Failing/Failing' failed starting stream 'arrays': RuntimeError"):
        list(pipeline(plugins=plugins).run(images(2)))


def live_source(frames, *, proceed):
    """A live source that gives its frames at once, and then waits until it may end."""

    class Live:
        info = StreamInfo(name="door", width=64, height=48, rate=Fraction(25), live=True)

        def __iter__(self):
            for i in range(frames):
                yield make_frame(grey_image(64, 48), index=i, seconds=i / 25, stream=self.info)
            proceed.set()

        def close(self):
            pass

    return SourceSpec(name="door", open=Live, live=True)


def test_a_live_source_drops_the_oldest_waiting_frames_and_counts_them():
    all_came = threading.Event()

    class Slow(FixedDetector):
        def detect(self, frames):
            all_came.wait(timeout=10)
            return super().detect(frames)

    run = pipeline(detector=Slow(), batch=2).run([live_source(50, proceed=all_came)])
    indices = [result.frame.index for result in run]
    statistics = run.statistics["door"]
    assert indices[-2:] == [48, 49]
    assert statistics.decoded == 50
    assert statistics.dropped == 50 - len(indices) > 30


def test_an_analyzer_sees_every_result_in_order_and_each_stream_has_its_own():
    class Counter:
        def __init__(self):
            self.count = 0

        def analyze(self, result):
            self.count += 1
            event = Event(kind="count", seconds=result.frame.seconds, details={"count": self.count})
            return FrameResult(frame=result.frame, detections=result.detections, events=(event,))

    results = list(pipeline(analyzers=[Counter()]).run([iter(images(5)), iter(images(5))]))
    assert all(result.events[0].details["count"] == result.frame.index + 1 for result in results)


def test_memory_does_not_hold_what_has_been_consumed():
    import weakref

    run = pipeline().run(iter(images(60)))
    references = [weakref.ref(result.frame) for result in run]
    assert sum(reference() is not None for reference in references) <= 1


def test_pixels_are_read_only_so_that_no_stage_changes_what_another_sees():
    class Painter(FixedDetector):
        def detect(self, frames):
            frames[0].image[:] = 0
            return super().detect(frames)

    with pytest.raises(StageError, match="read-only"):
        list(pipeline(detector=Painter()).run(images(3)))
    assert np.asarray(images(1)[0]).flags.writeable
