"""What plugins and sources give is held against their contracts, and what is wrong is told in their name."""

import threading
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from framehook import (
    AmendingSink,
    ArraySource,
    Classifier,
    Column,
    Detections,
    Event,
    Pipeline,
    Sink,
    SourceError,
    SourceSpec,
    StageError,
    StreamInfo,
    StreamSink,
    UsageError,
    hookimpl,
    load_plugins,
)
from framehook.contracts import keeps
from framehook.testing import FixedDetector, MemorySink, OrderTracker, grey_image, make_frame


def images(n, value=0):
    return [grey_image(64, 48, value=value) for _ in range(n)]


def pipeline(**given):
    return Pipeline(**{"detector": FixedDetector(), "tracker": OrderTracker(), "classifiers": [], **given})


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


class Numbering(OrderTracker):
    """A tracker that gives two detections these ids."""

    def __init__(self, *tracks):
        super().__init__()
        self.tracks = tracks

    def update(self, frame, detections):
        return detections.with_tracks(self.tracks[: len(detections)])


BAD_BOXES = Detections(boxes=[[np.nan, 0, 5, 5]])
SURE = Detections(boxes=[[0, 0, 5, 5]], scores=[97])


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
        (
            {"detector": Detecting(lambda frames: [BAD_BOXES for _ in frames])},
            r"returned the boxes \[\[nan, .* wanted finite numbers",
        ),
        ({"detector": Detecting(lambda frames: [SURE for _ in frames])}, r"returned the scores \[97.0\], wanted 0 to 1"),
        ({"tracker": Numbering(1, 1)}, r"returned the tracks \[1, 1\], wanted positive ids, each once, and -1 for none"),
        ({"tracker": Numbering(0, 1)}, r"returned the tracks \[0, 1\], wanted positive ids"),
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
        (
            {"analyzers": [Replacing(events=(Event(kind="k", seconds=None),))]},
            r"returned Event\(kind='k', seconds=None, .*, wanted a",
        ),
    ],
    ids=[
        "too few",
        "no list",
        "generator",
        "no detections",
        "no numbers",
        "percent",
        "one id for two",
        "an id of 0",
        "lost rows",
        "no return",
        "column",
        "word",
        "text",
        "shape",
        "analyzer",
        "analyzer's detections",
        "analyzer's events",
        "event",
    ],
)
def test_a_plugin_that_breaks_its_contract_is_named(stages, message):
    (stage,) = stages.values()
    name = type(stage[0] if isinstance(stage, list) else stage).__name__
    detector = FixedDetector([[0, 0, 9, 9], [20, 20, 29, 29]] if isinstance(stage, Numbering) else [[0, 0, 9, 9]])
    with pytest.raises(StageError, match=rf"plugin '{name}' failed on frame \d .*{message}"):
        list(pipeline(**{"detector": detector, **stages}).run(images(10)))


class Inventing(FixedDetector):
    """A refiner that says this of what was there."""

    def __init__(self, found):
        super().__init__([[0, 0, 9, 9], [20, 20, 29, 29]])
        self.found = found

    def refine(self, frames, near):
        return [self.found(one) for one in near]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda near: Detections.concatenate([near, near]), r"the tracks \[1, 2, 1, 2\] for those of \[1, 2\], wanted some of"),
        (
            lambda near: near.with_tracks([1, 7]),
            r"the tracks \[1, 7\] for those of \[1, 2\], wanted some of these, each once at most",
        ),
        (lambda near: Detections(boxes=near.boxes * np.nan, tracks=near.tracks), r"wanted finite numbers"),
    ],
    ids=["doubled", "another one", "no numbers"],
)
def test_a_refiner_finds_what_was_there_and_no_more(found, message):
    with pytest.raises(StageError, match=rf"plugin 'Inventing' failed on frame 1 .*{message}"):
        list(pipeline(detector=Inventing(found), detect_every=5).run(images(10)))


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


class Waited:
    def open(self, stream):
        pass

    async def write(self, result):
        pass

    def close(self):
        pass


def test_a_method_that_nobody_would_wait_for_is_refused():
    with pytest.raises(UsageError, match=r"sink 'Waited': nobody would wait for its `async def write`; write it with def"):
        pipeline(sinks=[Waited])._make_sinks[0][1]()


class Unmade(FixedDetector):
    def __init__(self):
        raise OSError("no model")


class Unread(Moody):
    @property
    def columns(self):
        raise OSError("no model")


@pytest.mark.parametrize("stages", [{"detector": Unmade}, {"classifiers": [Unread(mood="calm")]}, {"classifiers": [Unread]}])
def test_a_plugin_that_cannot_be_made_or_asked_is_named(stages):
    with pytest.raises(StageError, match=r"plugin '(Unmade|Unread)' could not be made: (OSError: no model|TypeError: )"):
        pipeline(**stages)


def test_of_two_plugins_of_one_class_both_are_named():
    class Twins:
        @hookimpl
        def framehook_register_classifiers(self, register):
            register("first", Failing)
            register("second", Failing)

    plugins = load_plugins(extra=[Twins()])
    with pytest.raises(StageError, match="plugin 'first or second' failed on frame 0"):
        list(pipeline(plugins=plugins, classifiers=["first:column=a", "second:column=b"]).run(images(2)))


class Failing:
    def __init__(self, *, column: str = "a"):
        self.columns = (Column(name=column),)

    def classify(self, frames, detections):
        raise OSError("no model")


def test_frames_alone_are_no_source():
    with pytest.raises(UsageError, match=r"frames alone are no source: give a Source, which has `info` and close\(\) besides"):
        pipeline().run(make_frame(image, index=i) for i, image in enumerate(images(3)))


class HandingOn:
    """Has nothing of its own, as proxies and the mocks of tests."""

    def __init__(self, to):
        self._to = to

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._to, name)


def test_who_hands_on_to_another_object_keeps_its_contract():
    sink = MemorySink()
    results = list(pipeline(detector=HandingOn(FixedDetector()), sinks=[HandingOn(sink)]).run(images(3)))
    assert len(results) == len(sink.results) == 3
    assert all(len(result.detections) for result in results)
    assert len(sink.ended) == sink.closed == 1


def test_a_contract_is_kept_by_who_has_all_of_it():
    class Half:
        def open(self, stream): ...

        def write(self, result): ...

    assert not keeps(Half(), Sink)
    assert keeps(MemorySink(), StreamSink)
    assert not keeps(MemorySink(), AmendingSink)


def test_a_method_that_is_switched_off_is_none():
    class Quiet(MemorySink):
        end = None

    class Plain(FixedDetector):
        refine = None

    assert not keeps(Quiet(), StreamSink)
    assert len(list(pipeline(detector=Plain(), sinks=[Quiet()]).run(images(3)))) == 3


def test_a_classifier_may_inherit_its_contract_and_set_its_columns_later():
    class Level(Classifier):
        def __init__(self):
            self.columns = (Column(name="level"),)

        def classify(self, frames, detections):
            return [found.with_attributes(level=np.ones(len(found))) for found in detections]

    assert [r.detections.attributes["level"].tolist() for r in pipeline(classifiers=[Level()]).run(images(1))] == [[1.0]]
