"""Tests that every plugin of a kind passes. Subclass one in a test file, and say in `make` how yours is made.

    class TestMine(DetectorConformance):
        def make(self):
            return MyDetector()

        def pictures(self):
            return [...]  # some in which yours finds something

They run under pytest and any other runner that collects methods called `test_…`.
"""

import threading
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any
from unittest import SkipTest

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framehook import geometry, returned
from framehook.contracts import Analyzer, Classifier, Detector, Refiner, Sink, Source, StreamSink, Tracker, keeps
from framehook.detections import NO_TRACK, Detections
from framehook.frame import Frame, Image, StreamInfo
from framehook.pictures import grey_image, make_frame
from framehook.results import Event, FrameResult, StreamStatistics
from framehook.stages import Stages, check_columns

_MOST_FRAMES = 10  # that are read of a source
_WAIT_SECONDS = 10.0
_SAME = 0.3  # intersection over union of a box and itself, found again in the same picture


class _OnPictures:
    """What tests of detectors and classifiers share."""

    def pictures(self) -> Sequence[Image]:
        """Return pictures, (height, width, 3) uint8 RGB, in which yours has something to say, and of more than one kind.

        What these are not overridden with, greys and noise, says little of a plugin that looks for something.
        """
        noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        return [*(grey_image(96, 64, value=40 * i) for i in range(3)), noise, grey_image(40, 200)]

    def _frames(self) -> list[Frame]:
        return [make_frame(picture, index=i) for i, picture in enumerate(self.pictures())]


class DetectorConformance(_OnPictures):
    """Tests that every detector passes."""

    def make(self) -> Detector:
        """Return the detector to test."""
        raise NotImplementedError("say in make() how your detector is made")

    def test_it_keeps_the_protocol(self) -> None:
        """It has the methods of a detector."""
        assert keeps(self.make(), Detector), "a detector has detect(frames)"

    def test_it_returns_one_result_for_each_frame(self) -> None:
        """Batches of any length and of mixed sizes come back with the same length."""
        frames = [make_frame(grey_image(96, 64), index=0), make_frame(grey_image(40, 200), index=1)]
        detector = self.make()
        for batch in ([], frames[:1], frames):
            found = detector.detect(batch)
            assert len(found) == len(batch), f"{len(found)} results for {len(batch)} frames"
            assert all(isinstance(one, Detections) for one in found), f"wanted Detections for each frame, got {found}"

    def test_it_takes_the_smallest_picture(self) -> None:
        """A picture of one pixel is no error."""
        assert len(self.make().detect([make_frame(grey_image(1, 1))])) == 1

    def test_a_batch_says_what_its_frames_say_alone(self) -> None:
        """Results do not depend on the company, but for what batches round differently, and are in the frames' order."""
        frames = self._frames()
        detector = self.make()
        alone = [detector.detect([frame])[0] for frame in frames]
        for one, together in zip(alone, detector.detect(frames), strict=True):
            np.testing.assert_allclose(together.boxes, one.boxes, atol=0.5)
            np.testing.assert_allclose(together.scores, one.scores, atol=0.01)
            assert _words(together) == _words(one), "a batch gives other labels than its frames alone"
            _assert_same_attributes(together, one)
        _skip_unless_found(alone)

    def test_boxes_are_finite_and_scores_lie_between_0_and_1(self) -> None:
        """Corners are x1, y1, x2, y2: no width and height, and no NaN."""
        found = self.make().detect(self._frames())
        for one in found:
            _assert_boxes(one)
            assert ((one.scores >= 0) & (one.scores <= 1)).all(), one.scores
        _skip_unless_found(found)


class RefinerConformance(_OnPictures):
    """Tests that every refiner passes; it is a detector, too."""

    def make(self) -> Refiner:
        """Return the refiner to test."""
        raise NotImplementedError("say in make() how your refiner is made")

    def test_it_keeps_the_protocol(self) -> None:
        """It has the method of a refiner."""
        assert keeps(self.make(), Refiner), "a refiner has refine(frames, near)"

    def test_it_returns_of_each_frame_some_of_what_was_there(self) -> None:
        """One result for each frame, none of its tracks new or twice, in frames of mixed sizes and one of nothing known."""
        frames = [make_frame(grey_image(96, 64), index=0), make_frame(grey_image(1, 1)), make_frame(grey_image(40, 200), index=1)]
        known = Detections(boxes=np.array([[10, 10, 40, 50], [60, 20, 90, 60]], np.float32), tracks=np.array([3, 7]))
        found = self.make().refine(frames, [known, Detections.empty(), known])
        assert len(found) == len(frames), f"{len(found)} results for {len(frames)} frames"
        assert len(found[1]) == 0, "found something where nothing was known"
        for one in found:
            _assert_boxes(one)
            assert len(set(one.tracks.tolist()) & {3, 7}) == len(one), f"tracks {one.tracks.tolist()} for those of 3 and 7"

    def test_what_was_found_is_found_again_where_it_is(self) -> None:
        """In the same pictures most is there still, each under its own track and label, in a batch as alone."""
        frames, refiner = self._frames(), self.make()
        detector: object = refiner
        if not keeps(detector, Detector):
            raise SkipTest("it detects nothing itself")
        near = [found.with_tracks(np.arange(3, 3 + 2 * len(found), 2)) for found in detector.detect(frames)]
        _skip_unless_found(near)
        again = refiner.refine(frames, near)
        for frame, before, after in zip(frames, near, again, strict=True):
            (alone,) = refiner.refine([frame], [before])
            assert alone.tracks.tolist() == after.tracks.tolist(), "a batch finds others again than its frames alone"
            rows = [before.tracks.tolist().index(track) for track in after.tracks.tolist()]
            overlap = np.diagonal(geometry.iou(after.boxes, before.boxes[rows]))
            assert (overlap > _SAME).all(), f"found again elsewhere: {after.boxes.tolist()} for {before.boxes[rows].tolist()}"
            assert _words(after) == _words(before[rows]), "found again under other labels"
        there, left = sum(map(len, near)), sum(map(len, again))
        assert left >= there / 2, f"of {there} things only {left} were found again in the very same pictures"


class TrackerConformance:
    """Tests that every tracker passes."""

    def make(self) -> Tracker:
        """Return a new tracker."""
        raise NotImplementedError("say in make() how your tracker is made")

    def test_it_returns_the_same_detections_in_the_same_order(self) -> None:
        """Only the tracks are new, also where nothing is found for a frame."""
        some = _three_things([[0, 0, 10, 10], [50, 50, 70, 70], [30, 0, 40, 10]])
        tracker = self.make()
        for i, given in enumerate([some, some, some[[]], some, Detections.empty(), some]):
            tracked = tracker.update(_moment(i), given)
            _assert_the_same(tracked, given)
            assert tracked.attributes.keys() == given.attributes.keys(), "a tracker adds no attributes"

    def test_two_things_have_two_ids(self) -> None:
        """No id is given twice in a frame."""
        tracker = self.make()
        boxes = np.array([[0, 0, 10, 10], [50, 50, 70, 70]], np.float32)
        for i in range(10):
            tracked = tracker.update(_moment(i), Detections(boxes=boxes))
        ids = set(tracked.tracks.tolist()) - {NO_TRACK}
        assert len(ids) == 2, f"two things that stood still for ten frames have the ids {tracked.tracks.tolist()}"

    def test_what_stands_still_keeps_its_id(self) -> None:
        """From when it has one."""
        tracker = self.make()
        ids = [
            tracker.update(_moment(i), Detections(boxes=np.array([[10, 10, 30, 30]], np.float32))).tracks.tolist()
            for i in range(10)
        ]
        given = {track for (track,) in ids} - {NO_TRACK}
        assert len(given) == 1, f"one thing that stood still for ten frames had the ids {ids}"

    def test_ids_rise(self) -> None:
        """What comes later has a higher id than all before it, and an id of something that left does not come back."""
        tracker = self.make()
        first, then = ([10, 10, 30, 30], [60, 60, 80, 80])
        seen = []
        for start, box in ((0.0, first), (60.0, then)):
            for i in range(10):
                frame = make_frame(grey_image(96, 96), index=i, seconds=start + i / 25)
                tracked = tracker.update(frame, Detections(boxes=np.array([box], np.float32)))
            seen.append(int(tracked.tracks[0]))
        assert 0 < seen[0] < seen[1], f"what left had the id {seen[0]}, and what came a minute later {seen[1]}"

    def test_prediction_changes_nothing(self) -> None:
        """Asking twice gives the same answer, before the first frame too."""
        tracker = self.make()
        assert len(tracker.predict(_moment(0))) == 0, "something is expected before anything was seen"
        for i in range(5):
            tracker.update(_moment(i), Detections(boxes=np.array([[10, 10, 30, 30]], np.float32)))
        np.testing.assert_array_equal(tracker.predict(_moment(4)).boxes, tracker.predict(_moment(4)).boxes)


class ClassifierConformance(_OnPictures):
    """Tests that every classifier passes."""

    def make(self) -> Classifier:
        """Return the classifier to test."""
        raise NotImplementedError("say in make() how your classifier is made")

    def test_its_columns_go_together(self) -> None:
        """As a pipeline asks of them."""
        check_columns(Stages(detector=_Nothing(), make_tracker=None, classifiers=[self.make()], make_analyzers=[], names={}))

    def test_it_adds_its_columns_to_the_same_detections(self) -> None:
        """Also to none, with the same types, with values that they can hold, and nothing else but a `quality`."""
        classifier = self.make()
        frame = make_frame(grey_image(96, 96))
        some = _three_things([[10, 10, 50, 50], [0, 0, 0, 0], [80, 80, 120, 120]]).with_tracks([7, 3, NO_TRACK])
        given = [some, some[[]]]
        found = classifier.classify([frame, frame], given)
        assert len(found) == len(given), f"{len(found)} results for {len(given)} frames"
        declared = {name for column in classifier.columns for name in (column.name, column.of) if name}
        for before, after in zip(given, found, strict=True):
            returned.with_columns(returned.same_tracks(after, before), classifier.columns)
            _assert_the_same(after, before)
            others = after.attributes.keys() - before.attributes.keys() - declared - {"quality"}
            assert not others, f"added {sorted(others)}, which are no columns of it and reach nobody"
        for column in classifier.columns:
            values, none = (one.attributes[column.name] for one in found)
            assert values.dtype.kind == none.dtype.kind, f"column '{column.name}' is {values.dtype}, and {none.dtype} of nothing"
            if column.aggregate == "std":
                assert not (values < 0).any(), f"a standard deviation below 0: {values.tolist()}"
            if values.dtype.kind == "f":
                assert not np.isinf(values).any(), f"column '{column.name}' is infinite: {values.tolist()}; NaN says nothing"

    def test_a_batch_says_what_its_frames_say_alone(self) -> None:
        """Each frame's own picture is looked at."""
        classifier, frames = self.make(), self._frames()
        given = []
        for frame in frames:
            width, height = float(frame.width), float(frame.height)
            given.append(_three_things([[0.0, 0.0, width / 2, height / 2], [0.0, 0.0, width, height], [5.0, 5.0, 15.0, 15.0]]))
        alone = [classifier.classify([frame], [found])[0] for frame, found in zip(frames, given, strict=True)]
        for one, together in zip(alone, classifier.classify(frames, given), strict=True):
            _assert_same_attributes(together, one)


class AnalyzerConformance:
    """Tests that every analyzer passes."""

    def make(self) -> Analyzer:
        """Return a new analyzer."""
        raise NotImplementedError("say in make() how your analyzer is made")

    def test_it_adds_to_results_and_takes_nothing_away(self) -> None:
        """The frame, the detections and the events before it are there still, also where nothing was found."""
        analyzer = self.make()
        for i, found in enumerate([_moving(i) for i in range(5)] + [Detections.empty()]):
            event = Event(kind="before", seconds=i / 25)
            before = FrameResult(frame=_moment(i), detections=found, events=(event,))
            after = returned.result(analyzer.analyze(before))
            assert after.frame is before.frame, "the result is of another frame"
            assert event in after.events, "an event of an analyzer before it is gone"
            _assert_the_same(after.detections, found)
            assert after.detections.tracks.tolist() == found.tracks.tolist(), "the tracks are others"


class SinkConformance:
    """Tests that every sink passes."""

    def make(self) -> Sink:
        """Return a new sink, that writes into a place of its own."""
        raise NotImplementedError("say in make() how your sink is made")

    def test_it_takes_streams_that_take_turns(self) -> None:
        """With detections and without, and with whatever these and events may hold."""
        sink = self.make()
        streams = [StreamInfo(name=name, width=96, height=96) for name in ("door", "gate")]
        odd = _moving(0).with_attributes(age=[np.nan, 3.0, np.inf], word=["", "a,b", 'say "yes"'], pair=np.ones((3, 2)))
        event = Event(kind="line-crossed", seconds=0.5, track=1, details={"line": "a", "speed": 0.5})
        for i, found in enumerate([odd, Detections.empty(), odd]):
            for stream in streams:
                if i == 0:
                    sink.open(stream)
                frame = make_frame(grey_image(96, 96), index=i, seconds=i / 25, stream=stream)
                sink.write(FrameResult(frame=frame, detections=found, events=(event,) * i))
        for stream in streams:
            if keeps(sink, StreamSink):
                sink.end(stream, StreamStatistics(stream=stream.name, processed=3))
        sink.close()

    def test_closing_twice_and_before_anything_is_harmless(self) -> None:
        """As when no stream ever begins."""
        sink = self.make()
        sink.close()
        sink.close()


class SourceConformance:
    """Tests that every source passes. Of one that never ends, the first ten frames are read."""

    def make(self) -> Source:
        """Return a new source, that gives the same frames each time."""
        raise NotImplementedError("say in make() how your source is made")

    def test_its_frames_keep_the_contract(self) -> None:
        """They are frames of its stream with rising numbers, of its size, and with times that do not fall."""
        source = self.make()
        frames = list(islice(returned.frames(source), _MOST_FRAMES))
        assert frames, "it gave no frame"
        for frame in frames:
            assert frame.image.shape == (source.info.height, source.info.width, 3), f"{frame.image.shape} is not its info's size"
        assert all(a.seconds <= b.seconds for a, b in pairwise(frames)), "times go back"
        source.close()

    def test_frames_stay_as_they_came(self) -> None:
        """They wait in queues: a source that uses its memory again has to copy."""
        first, second = self.make(), self.make()
        at_once = [frame.image.copy() for frame in islice(first, _MOST_FRAMES)]
        later = list(islice(second, _MOST_FRAMES))
        for i, (image, frame) in enumerate(zip(at_once, later, strict=False)):
            assert np.array_equal(image, frame.image), f"frame {i} shows another picture once the next ones have come"
        first.close()
        second.close()

    def test_closing_ends_it(self) -> None:
        """From another thread, and twice, also while it waits for the next frame."""
        source = self.make()
        began, ended = threading.Event(), threading.Event()

        def read() -> None:
            try:
                for _ in source:
                    began.set()
            finally:
                began.set()
                ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert began.wait(_WAIT_SECONDS), f"no frame came in {_WAIT_SECONDS:.0f} s"
        source.close()
        source.close()
        assert ended.wait(_WAIT_SECONDS), f"it still waits {_WAIT_SECONDS:.0f} s after it was closed"


class _Nothing:
    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        return [Detections.empty() for _ in frames]


def _skip_unless_found(found: Sequence[Detections]) -> None:
    if not any(map(len, found)):
        raise SkipTest("nothing was found in any picture: return some in pictures() in which yours finds something")


def _moment(number: int) -> Frame:
    return make_frame(grey_image(96, 96), index=number, seconds=number / 25)


def _three_things(boxes: ArrayLike) -> Detections:
    return Detections(
        boxes=np.array(boxes, np.float32),
        scores=np.array([0.99, 0.6, 0.98], np.float32),
        labels=np.array([0, 1, 0]),
        names=("face", "person"),
        attributes={"mark": np.array([7, 8, 9])},
    )


def _moving(step: int) -> Detections:
    """Three things on their way across the picture, one of them without a track."""
    boxes = np.array([[0, 0, 10, 10], [50, 50, 70, 70], [30, 0, 40, 10]]) + 10 * step
    return _three_things(boxes).with_tracks([1, 2, NO_TRACK])


def _words(found: Detections) -> list[str]:
    return [row.label for row in found]


def _assert_boxes(found: Detections) -> None:
    boxes = found.boxes
    assert np.isfinite(boxes).all(), f"boxes must be finite numbers, got {boxes.tolist()}"
    assert (boxes[:, 2:] >= boxes[:, :2]).all(), f"boxes are x1, y1, x2, y2, not x, y, width, height; got {boxes.tolist()}"


def _assert_the_same(after: Detections, before: Detections) -> None:
    """What was found is still there, in the same order, with all that was known of it."""
    np.testing.assert_array_equal(after.boxes, before.boxes)
    np.testing.assert_array_equal(after.scores, before.scores)
    assert _words(after) == _words(before), f"the labels {_words(before)} became {_words(after)}"
    for name, values in before.attributes.items():
        assert name in after.attributes, f"the attribute '{name}' is gone"
        np.testing.assert_array_equal(after.attributes[name], values)


def _assert_same_attributes(after: Detections, before: Detections) -> None:
    assert after.attributes.keys() == before.attributes.keys(), (
        f"{set(after.attributes)} in a batch, {set(before.attributes)} alone"
    )
    for name, values in before.attributes.items():
        _assert_close(after.attributes[name], values)


def _assert_close(after: NDArray[Any], before: NDArray[Any]) -> None:
    if before.dtype.kind == "U":
        np.testing.assert_array_equal(after, before)
    else:
        np.testing.assert_allclose(after, before, atol=0.5, rtol=0.01)
