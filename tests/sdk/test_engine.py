import itertools
import signal
import threading
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from framehook import (
    ArraySource,
    Column,
    Detections,
    Event,
    FrameResult,
    Pipeline,
    SourceError,
    SourceSpec,
    StageError,
    StreamInfo,
    UsageError,
    hookimpl,
    load_plugins,
)
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
    run = pipeline().run(images(10))
    run.close()
    run.close()
    assert list(run) == []


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


class Detecting:
    """Detects, or does what one who begins to write a detector does."""

    def __init__(self, found):
        self.found = found

    def detect(self, frames):
        return self.found(frames)


class Greedy(OrderTracker):
    def update(self, frame, detections):
        return detections[[]]


class Speechless(OrderTracker):
    def update(self, frame, detections):
        return None


class Moody:
    columns: ClassVar = (
        Column(name="mood", aggregate="vote", categories=("calm", "angry")),
        Column(name="age", aggregate="mean"),
    )

    def __init__(self, **said):
        self.said = said

    def classify(self, frames, detections):
        return [
            found.with_attributes(**{name: [value] * len(found) for name, value in self.said.items()}) for found in detections
        ]


class Absent:
    def analyze(self, result):
        pass


class Replacing:
    def __init__(self, **changed):
        self._changed = changed

    def analyze(self, result):
        return replace(result, **self._changed)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"detector": Detecting(lambda frames: [])}, "returned 0 results for 1 frames, wanted one for each"),
        ({"detector": Detecting(lambda frames: None)}, "returned None, wanted a list with Detections for each frame"),
        ({"detector": Detecting(lambda frames: (Detections.empty() for _ in frames))}, "returned a value of type generator"),
        ({"detector": Detecting(lambda frames: [None for _ in frames])}, "returned None for a frame, wanted Detections"),
        ({"tracker": Greedy()}, "returned 0 detections for 1, wanted the same in the same order"),
        ({"tracker": Speechless()}, "returned None for a frame, wanted Detections"),
        ({"classifiers": [Moody(mood="calm")]}, r"declared the columns \['age'\] and did not add them"),
        ({"classifiers": [Moody(mood="glad", age=3)]}, "gave column 'mood' the value 'glad', wanted one of calm, angry"),
        ({"classifiers": [Moody(mood="calm", age="3")]}, "gave column 'age' values of type <U1, wanted numbers"),
        ({"classifiers": [Moody(mood="calm", age=(3, 4))]}, r"gave column 'age' the shape \(1, 2\), wanted \(1,\)"),
        ({"analyzers": [Absent()]}, "returned None, wanted a FrameResult"),
        ({"analyzers": [Replacing(detections=None)]}, "returned a FrameResult with None for its detections, wanted Detections"),
        (
            {"analyzers": [Replacing(events=["hello"])]},
            r"returned a FrameResult with the events \['hello'\], wanted a tuple of Event",
        ),
    ],
    ids=[
        "too few",
        "no list",
        "generator",
        "no detections",
        "lost rows",
        "no return",
        "column",
        "word",
        "text",
        "shape",
        "analyzer",
        "analyzer's detections",
        "analyzer's events",
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named(stages, message):
    (stage,) = stages.values()
    name = type(stage[0] if isinstance(stage, list) else stage).__name__
    with pytest.raises(StageError, match=rf"plugin '{name}' failed on frame \d .*{message}"):
        list(pipeline(**stages).run(images(10)))


def test_a_failing_sink_ends_the_run_or_just_itself():
    with pytest.raises(StageError, match=r"sink 'MemorySink' failed writing frame 3 of 'arrays': RuntimeError"):
        list(pipeline(sinks=[MemorySink(fail_at=3)]).run(images(50)))
    good, bad = MemorySink(), MemorySink(fail_at=3)
    assert len(list(pipeline(sinks=[bad, good], on_error="isolate").run(images(50)))) == 50
    assert (len(bad.results), len(good.results)) == (3, 50)
    assert "the run went on without it" in good.ended[0].warnings[0]
    assert good.ended[0].lost_sinks == ("MemorySink",)


def test_a_sink_that_is_lost_is_missing_from_later_streams_too():
    good, bad = MemorySink(), MemorySink(fail_at=3)
    list(pipeline(sinks=[bad, good], on_error="isolate").run([iter(images(5)), iter(images(2))]))
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


class Source:
    """A source of the embedding program that gives what it is told to give."""

    info = StreamInfo(name="door", width=64, height=48)

    def __init__(self, given=(), *, info=info):
        self.info = info
        self._given = given

    def __iter__(self):
        return iter(self._given)

    def close(self):
        pass


FRAME = make_frame(grey_image(64, 48), stream=Source.info)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(images(2)), r"gave a value of type ndarray for a frame, wanted a Frame; ArraySource makes frames of pictures"),
        (Source([make_frame(grey_image(64, 48))]), r"gave a frame of the stream 'test', wanted one with .* 'door'"),
        (
            Source([replace(FRAME, picture=FRAME.image)]),
            r"gave a value of type ndarray for a frame's picture",
        ),
        (Source([FRAME, FRAME]), r"gave frame 0 after frame 0, wanted numbers that rise"),
        (Source(), r"source 'door' gave no frame: if it was read or closed before, make it anew"),
        (SourceSpec(name="door", open=lambda: Source(info="door")), r"gave a value of type str for its info"),
    ],
    ids=["pictures", "another stream", "no picture", "twice", "nothing", "info"],
)
@pytest.mark.parametrize("renamed", [False, True])
def test_a_source_that_breaks_its_contract_is_named(source, message, renamed):
    name = "gate" if renamed else "door"
    spec = replace(source, name=name) if isinstance(source, SourceSpec) else SourceSpec(name=name, open=lambda: source)
    with pytest.raises(SourceError, match=message.replace("source 'door'", f"source '{name}'")):
        list(pipeline().run(spec))


class Looking(FixedDetector):
    """A detector that looks at the pictures."""

    def detect(self, frames):
        return [Detections(boxes=[[0, 0, 5, 5]], attributes={"grey": [frame.image.mean()]}) for frame in frames]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: np.zeros((24, 32, 3), np.uint8), r"must be a \(48, 64, 3\) uint8 array in RGB, got \(24, 32, 3\) uint8"),
        (lambda: np.zeros((48, 64, 3)), r"got \(48, 64, 3\) float64"),
        (lambda: None, r"got NoneType"),
        (lambda: 1 / 0, r"cannot be converted: ZeroDivisionError: division by zero"),
    ],
    ids=["another size", "floats", "nothing", "an error"],
)
def test_a_source_answers_for_its_pictures_and_not_the_plugin_that_looks_at_them(given, message):
    class Picture:
        def rgb(self):
            return given()

        def scaled(self, width, height):
            return given()

    with pytest.raises(StageError, match=message) as raised:
        list(pipeline(detector=Looking()).run(Source([replace(FRAME, picture=Picture())])))
    assert str(raised.value).startswith("Frame('door', index=0")


def test_a_picture_may_show_memory_that_its_source_writes_into_again():
    memory = np.zeros((48, 64, 3), np.uint8)

    class Picture:
        def rgb(self):
            return memory

        def scaled(self, width, height):
            return memory

    list(pipeline(detector=Looking()).run(Source([replace(FRAME, picture=Picture())])))
    assert memory.flags.writeable


def test_a_source_is_read_once_and_says_so():
    source = ArraySource(images(3))
    assert len(list(pipeline().run(source))) == 3
    with pytest.raises(SourceError, match=r"source 'arrays' gave no frame: if it was read or closed before, make it anew"):
        list(pipeline().run(source))


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
    assert heard[0] == ("started", "arrays")
    assert sorted(heard[1:]) == [("ended", "arrays", lost), ("ended", "arrays-2", lost), ("started", "arrays-2")]
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
    assert indices[-4:] == [46, 47, 48, 49]
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


def test_a_stage_that_keeps_no_protocol_is_refused():
    with pytest.raises(UsageError, match=r"a detector is a plugin's name or an object with detect\(frames\), got MemorySink"):
        Pipeline(detector=MemorySink())
    with pytest.raises(UsageError, match=r"a tracker is .* got FixedDetector"):
        pipeline(tracker=FixedDetector)


def test_a_stage_that_each_stream_needs_of_its_own_and_that_cannot_be_copied_is_to_be_a_class():
    class Locked(Absent):
        def __init__(self):
            self._lock = threading.Lock()

    with pytest.raises(UsageError, match=r"analyzer Locked: each stream needs one of its own.*; give the class instead"):
        pipeline(analyzers=[Locked()])
    pipeline(analyzers=[Locked])


@pytest.mark.parametrize("columns", [Column(name="mood"), ("mood",)], ids=["no tuple", "of text"])
def test_columns_are_a_tuple_of_columns(columns):
    moody = Moody(mood="calm")
    moody.columns = columns
    with pytest.raises(UsageError, match="classifier 'Moody': columns must be a tuple of Column, got"):
        pipeline(classifiers=[moody])


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
