"""What a plugin author tests with: synthetic pictures and video, fakes, and tests that every plugin of a kind passes."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framehook import returned
from framehook.contracts import Classifier, Detector, Refiner, Tracker
from framehook.detections import NO_TRACK, Detections
from framehook.frame import Frame, Image, StreamInfo
from framehook.results import FrameResult, StreamStatistics
from framehook.video import ArrayPicture, VideoWriter

_GREYS = 47  # a prime: as many frames in a row differ from one another
_GREY_STEP = 5  # between any two greys: a lossy codec moves them by less than half of it
_FRAME_STEP = 8  # of these steps from one frame to the next: 40


def grey_image(width: int, height: int, *, value: int = 0) -> Image:
    """Return a flat grey picture, (height, width, 3)."""
    return np.full((height, width, 3), value, np.uint8)


def make_frame(image: Image, *, index: int = 0, seconds: float = 0.0, stream: StreamInfo | None = None) -> Frame:
    """Return a frame that shows this picture; its stream, unless given, has the picture's size."""
    height, width = image.shape[:2]
    return Frame(
        stream=stream or StreamInfo(name="test", width=width, height=height),
        index=index,
        pts=round(seconds * 1_000_000),
        time_base=Fraction(1, 1_000_000),
        picture=ArrayPicture(image),
    )


def synthetic_video(
    path: str | Path,
    *,
    frames: int = 10,
    width: int = 64,
    height: int = 48,
    rate: int = 25,
    pts: Iterable[int] | None = None,
) -> Path:
    """Write an H.264 clip whose frame i is flat grey of value `grey_of(i)`, and return its path.

    Args:
        path: ends in `.mp4`.
        frames: how many.
        width: pixels.
        height: pixels.
        rate: frames per second.
        pts: presentation times in units of 1 / (40 · rate) seconds, for a variable frame rate; None for a constant one.
    """
    path = Path(path)
    times = [40 * i for i in range(frames)] if pts is None else list(pts)
    with VideoWriter(path, width=width, height=height, time_base=Fraction(1, 40 * rate), rate=Fraction(rate)) as writer:
        for i, time in enumerate(times[:frames]):
            writer.write(grey_image(width, height, value=grey_of(i)), time)
    return path


def grey_of(frame: int) -> int:
    """Return the grey of a frame of `synthetic_video`: 0, 40, 80, … up to 230, no two alike until they repeat after 47 frames."""
    return _GREY_STEP * (_FRAME_STEP * frame % _GREYS)


def frame_number(image: Image) -> int:
    """Return which frame of `synthetic_video` a picture shows, modulo 47, though a codec has blurred its grey."""
    return round(float(image.mean()) / _GREY_STEP) * pow(_FRAME_STEP, -1, _GREYS) % _GREYS


class FixedDetector:
    """A detector that finds the same boxes in every frame, or none in those of `but_not`.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        but_not: indices of frames in which it finds nothing.
        fail_at: the index of a frame on which it raises; -1 for none.
    """

    def __init__(self, boxes: ArrayLike = ((8, 8, 24, 24),), *, but_not: Sequence[int] = (), fail_at: int = -1) -> None:
        self._boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        self._but_not = but_not
        self._fail_at = fail_at

    def detect(self, frames: Sequence[Frame]) -> Sequence[Detections]:
        """Return the boxes for each frame."""
        if any(frame.index == self._fail_at for frame in frames):
            raise RuntimeError("the detector was told to fail")
        return [Detections.empty() if frame.index in self._but_not else Detections(boxes=self._boxes) for frame in frames]


class OrderTracker:
    """A tracker that gives the first detection of every frame the id 1, the second 2, and so on.

    It is for tests of what comes after it: it uses ids again, which a tracker must not.
    """

    def __init__(self) -> None:
        self._last = Detections.empty()

    def update(self, frame: Frame, detections: Detections) -> Detections:
        """Return the detections numbered."""
        self._last = detections.with_tracks(np.arange(1, len(detections) + 1))
        return self._last

    def predict(self, frame: Frame) -> Detections:
        """Return what was there last."""
        return self._last


class MemorySink:
    """A sink that keeps what it is told: `opened`, `results`, `ended` and how often it was `closed`.

    Args:
        fail_at: the index of a frame on which it raises; -1 for none.
    """

    def __init__(self, *, fail_at: int = -1) -> None:
        self._fail_at = fail_at
        self.opened: list[StreamInfo] = []
        self.results: list[FrameResult] = []
        self.ended: list[StreamStatistics] = []
        self.closed = 0

    def open(self, stream: StreamInfo) -> None:
        """Note the stream."""
        self.opened.append(stream)

    def write(self, result: FrameResult) -> None:
        """Keep the result."""
        if result.frame.index == self._fail_at:
            raise RuntimeError("the sink was told to fail")
        self.results.append(result)

    def end(self, stream: StreamInfo, statistics: StreamStatistics) -> None:
        """Keep the statistics."""
        self.ended.append(statistics)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1


class DetectorConformance:
    """Tests that every detector passes. Subclass it in a test file, and say in `make` how yours is made.

    class TestMine(DetectorConformance):
        def make(self): return MyDetector()
    """

    def make(self) -> Detector:
        """Return the detector to test."""
        raise NotImplementedError("say in make() how your detector is made")

    def test_it_keeps_the_protocol(self) -> None:
        """It has the methods of a detector."""
        assert isinstance(self.make(), Detector)

    def test_it_returns_one_result_for_each_frame(self) -> None:
        """Batches of any length and of mixed sizes come back with the same length."""
        frames = [make_frame(grey_image(96, 64), index=0), make_frame(grey_image(40, 200), index=1)]
        detector = self.make()
        for batch in ([], frames[:1], frames):
            found = detector.detect(batch)
            assert len(found) == len(batch)
            assert all(isinstance(one, Detections) for one in found)

    def test_it_takes_the_smallest_picture(self) -> None:
        """A picture of one pixel is no error."""
        assert len(self.make().detect([make_frame(grey_image(1, 1))])) == 1

    def test_a_batch_says_what_its_frames_say_alone(self) -> None:
        """Results do not depend on the company, but for what batches round differently."""
        frames = [make_frame(grey_image(96, 64, value=40 * i), index=i) for i in range(3)]
        detector = self.make()
        alone = [detector.detect([frame])[0] for frame in frames]
        for one, together in zip(alone, detector.detect(frames), strict=True):
            np.testing.assert_allclose(together.boxes, one.boxes, atol=0.5)
            np.testing.assert_allclose(together.scores, one.scores, atol=0.01)
            assert [row.label for row in together] == [row.label for row in one]
            assert together.attributes.keys() == one.attributes.keys()
            for name, values in one.attributes.items():
                _assert_close(together.attributes[name], values)

    def test_boxes_are_finite_and_scores_lie_between_0_and_1(self) -> None:
        """Also in a picture full of edges."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        for found in self.make().detect([make_frame(grey_image(96, 64)), make_frame(noise)]):
            assert np.isfinite(found.boxes).all(), found.boxes
            assert ((found.scores >= 0) & (found.scores <= 1)).all(), found.scores


class RefinerConformance:
    """Tests that every refiner passes. Subclass it in a test file, and say in `make` how yours is made."""

    def make(self) -> Refiner:
        """Return the refiner to test."""
        raise NotImplementedError("say in make() how your refiner is made")

    def test_it_keeps_the_protocol(self) -> None:
        """It has the method of a refiner."""
        assert isinstance(self.make(), Refiner)

    def test_it_returns_of_each_frame_some_of_what_was_there(self) -> None:
        """One result for each frame, none of its tracks new or twice, in frames of mixed sizes and one of nothing known."""
        frames = [make_frame(grey_image(96, 64), index=0), make_frame(grey_image(1, 1)), make_frame(grey_image(40, 200), index=1)]
        known = Detections(boxes=np.array([[10, 10, 40, 50], [60, 20, 90, 60]], np.float32), tracks=np.array([3, 7]))
        found = self.make().refine(frames, [known, Detections.empty(), known])
        assert len(found) == len(frames)
        assert len(found[1]) == 0
        for one in found:
            assert len(set(one.tracks.tolist()) & {3, 7}) == len(one)


class TrackerConformance:
    """Tests that every tracker passes. Subclass it in a test file, and say in `make` how yours is made."""

    def make(self) -> Tracker:
        """Return a new tracker."""
        raise NotImplementedError("say in make() how your tracker is made")

    def test_it_returns_the_same_detections_in_the_same_order(self) -> None:
        """Only the tracks are new, also where nothing is found for a frame."""
        some = _three_things([[0, 0, 10, 10], [50, 50, 70, 70], [30, 0, 40, 10]])
        tracker = self.make()
        for i, given in enumerate([some, some, some[[]], some, Detections.empty(), some]):
            tracked = tracker.update(make_frame(grey_image(96, 96), index=i, seconds=i / 25), given)
            _assert_the_same(tracked, given)

    def test_two_things_have_two_ids(self) -> None:
        """No id is given twice in a frame."""
        tracker = self.make()
        boxes = np.array([[0, 0, 10, 10], [50, 50, 70, 70]], np.float32)
        for i in range(10):
            tracked = tracker.update(make_frame(grey_image(96, 96), index=i, seconds=i / 25), Detections(boxes=boxes))
        assert len(set(tracked.tracks.tolist()) - {NO_TRACK}) == 2

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
        assert 0 < seen[0] < seen[1]

    def test_prediction_changes_nothing(self) -> None:
        """Asking twice gives the same answer, before the first frame too."""
        tracker = self.make()
        frame = make_frame(grey_image(96, 96))
        assert len(tracker.predict(frame)) == 0
        for i in range(5):
            later = make_frame(grey_image(96, 96), index=i, seconds=i / 25)
            tracker.update(later, Detections(boxes=np.array([[10, 10, 30, 30]], np.float32)))
        np.testing.assert_array_equal(tracker.predict(later).boxes, tracker.predict(later).boxes)


class ClassifierConformance:
    """Tests that every classifier passes. Subclass it in a test file, and say in `make` how yours is made."""

    def make(self) -> Classifier:
        """Return the classifier to test."""
        raise NotImplementedError("say in make() how your classifier is made")

    def test_it_adds_its_columns_to_the_same_detections(self) -> None:
        """Also to none, with the same types, and with values that they can hold."""
        classifier = self.make()
        frame = make_frame(grey_image(96, 96))
        some = _three_things([[10, 10, 50, 50], [0, 0, 0, 0], [80, 80, 120, 120]]).with_tracks([7, 3, NO_TRACK])
        given = [some, some[[]]]
        found = classifier.classify([frame, frame], given)
        assert len(found) == len(given)
        for before, after in zip(given, found, strict=True):
            returned.with_columns(returned.same_tracks(after, before), classifier.columns)
            _assert_the_same(after, before)
        for column in classifier.columns:
            assert found[0].attributes[column.name].dtype.kind == found[1].attributes[column.name].dtype.kind


def _three_things(boxes: ArrayLike) -> Detections:
    return Detections(
        boxes=np.array(boxes, np.float32),
        scores=np.array([0.99, 0.6, 0.98], np.float32),
        labels=np.array([0, 1, 0]),
        names=("face", "person"),
        attributes={"mark": np.array([7, 8, 9])},
    )


def _assert_the_same(after: Detections, before: Detections) -> None:
    """What was found is still there, in the same order, with all that was known of it."""
    np.testing.assert_array_equal(after.boxes, before.boxes)
    np.testing.assert_array_equal(after.scores, before.scores)
    assert [row.label for row in after] == [row.label for row in before]
    for name, values in before.attributes.items():
        assert name in after.attributes, f"the attribute '{name}' is gone"
        np.testing.assert_array_equal(after.attributes[name], values)


def _assert_close(after: NDArray[Any], before: NDArray[Any]) -> None:
    if before.dtype.kind == "U":
        np.testing.assert_array_equal(after, before)
    else:
        np.testing.assert_allclose(after, before, atol=0.5, rtol=0.01)
