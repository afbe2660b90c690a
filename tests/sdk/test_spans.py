"""What a recorded stream's frames hold between two that are detected on."""

from fractions import Fraction

import numpy as np
import pytest

from framehook import Detections, Pipeline, StageError, StreamInfo, geometry
from framehook.analysis import Analysis
from framehook.stages import Stages
from framehook.stream_state import Counters, StreamState
from framehook.testing import OrderTracker, grey_image, make_frame, synthetic_video

FACE = (10, 10, 30, 30)


class World:
    """A detector and refiner of faces whose places are known: `places[name](index)` is a box, or None where it is not to be seen.

    Detection finds what is there, except in the frames that it overlooks, refining what is there and overlaps what is near.
    It remembers what it was asked.
    """

    def __init__(self, *, overlooks=(), fail_at=-1, words=None, **places):
        self._places = places
        self._overlooks = overlooks
        self._fail_at = fail_at
        self._words = words or {}
        self.detected, self.refined, self.near = [], [], {}

    def detect(self, frames):
        self.detected += [frame.index for frame in frames]
        return [self._of(frame.index)[[] if frame.index in self._overlooks else slice(None)] for frame in frames]

    def refine(self, frames, near):
        if any(frame.index == self._fail_at for frame in frames):
            raise RuntimeError("told to fail")
        self.refined.append([frame.index for frame in frames])
        found = []
        for frame, known in zip(frames, near, strict=True):
            self.near.setdefault(frame.index, []).extend(known.boxes.tolist())
            there = self._of(frame.index)
            alike = np.array([[one.label == other.label for other in there] for one in known]).reshape(len(known), len(there))
            overlap = geometry.iou(known.boxes, there.boxes) * alike
            rows = [row for row in range(len(known)) if overlap[row].max(initial=0) > 0.2]
            boxes = there.boxes[overlap[rows].argmax(axis=1)] if rows else np.empty((0, 4))
            kept = known[np.array(rows, np.int64)]
            found.append(Detections(boxes=boxes, scores=kept.scores, labels=kept.labels, tracks=kept.tracks, names=kept.names))
        return found

    def _of(self, index):
        there = [(name, box) for name, place in self._places.items() if (box := place(index)) is not None]
        words = [self._words.get(name, "face") for name, _ in there]
        known = tuple(dict.fromkeys(words)) or ("face",)
        return Detections(
            boxes=np.array([box for _, box in there], np.float32).reshape(-1, 4),
            labels=[known.index(word) for word in words],
            names=known,
        )


def still(box=FACE, *, first=0, last=10_000):
    return lambda index: box if first <= index <= last else None


def moving(x, y, *, first=0, last=10_000):
    """Five pixels a frame to the right."""
    return lambda index: (x + 5 * index, y, x + 5 * index + 20, y + 20) if first <= index <= last else None


def analysed(world, path, *, frames, rate=30, **options):
    synthetic_video(path, frames=frames, rate=Fraction(rate))
    options = {"tracker": OrderTracker(), "classifiers": [], "detector": world, **options}
    return list(Pipeline(**options).run(str(path)))


def seen(results):
    return [len(result.detections) for result in results]


def test_detections_are_far_apart_and_the_last_frame_has_one(tmp_path):
    world = World(face=still())
    assert seen(analysed(world, tmp_path / "a.mp4", frames=80)) == [1] * 80
    assert world.detected == [0, 12, 30, 54, 78, 79]  # after 0.4, 0.6, and then 0.8 s


def test_what_is_found_does_not_hang_on_the_batch(tmp_path):
    boxes = []
    for batch in (1, 3, 16):
        world = World(one=moving(0, 10, first=5, last=50), two=still((40, 30, 60, 46), first=33))
        results = analysed(world, tmp_path / "a.mp4", frames=60, batch=batch)
        boxes.append([result.detections.boxes.tolist() for result in results])
    assert boxes[0] == boxes[1] == boxes[2]


def test_frames_between_two_detections_are_looked_at_together(tmp_path):
    world = World(face=still())
    analysed(world, tmp_path / "a.mp4", frames=13)
    assert world.refined == [list(range(1, 12))]


def test_a_moving_face_is_looked_for_on_its_way(tmp_path):
    world = World(face=moving(0, 10))
    results = analysed(world, tmp_path / "a.mp4", frames=5, detect_every=4)
    assert [result.detections.boxes[0, 0] for result in results] == [0, 5, 10, 15, 20]
    assert {index: boxes[0][0] for index, boxes in world.near.items()} == {1: 5, 2: 10, 3: 15}


def test_who_came_between_two_detections_is_followed_back_to_the_first_frame(tmp_path):
    world = World(face=moving(0, 10, first=5))
    results = analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)
    assert seen(results) == [0] * 5 + [1] * 6
    assert [result.detections.boxes[0, 0] for result in results[5:]] == list(range(25, 55, 5))
    assert world.detected == [0, 10]


def test_who_left_between_two_detections_is_followed_to_the_last_frame(tmp_path):
    world = World(face=moving(0, 10, last=6))
    assert seen(analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)) == [1] * 7 + [0] * 4


def test_one_who_comes_and_one_who_leaves_meet(tmp_path):
    world = World(one=still((10, 10, 30, 30), last=6), two=still((40, 10, 60, 30), first=4))
    results = analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)
    assert seen(results) == [1] * 4 + [2] * 3 + [1] * 4


def test_a_face_that_both_ends_saw_apart_is_reported_once(tmp_path):
    world = World(face=lambda index: (4 * index, 10, 4 * index + 20, 30))  # by two of its sizes, too far for a pair
    results = analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)
    assert seen(results) == [1] * 11


def test_where_a_face_is_lost_on_its_way_a_long_span_has_another_detection(tmp_path):
    world = World(one=still(last=4), two=still((40, 10, 60, 30), first=14, last=15))
    results = analysed(world, tmp_path / "a.mp4", frames=25, detect_every=24)
    assert world.detected == [0, 24, 12]
    assert [result.frame.index for result in results if result.detections.boxes[:, 0].tolist() == [10]] == list(range(5))


def test_a_short_span_has_none(tmp_path):
    world = World(one=still(last=4))
    analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)
    assert world.detected == [0, 10]


def test_who_is_new_at_an_end_has_the_next_detection_come_sooner(tmp_path):
    world = World(one=still(), two=still((40, 10, 60, 30), first=20))
    analysed(world, tmp_path / "a.mp4", frames=60)
    assert world.detected == [0, 12, 30, 21, 42, 59]  # 0.6 s, of which a half again where the second one was lost; then 0.4 s


class Remembering(OrderTracker):
    """Expects the face for ever."""

    def predict(self, frame):
        return Detections(boxes=[FACE], tracks=[1])


def test_a_face_that_was_lost_from_sight_is_looked_for_now_and_then(tmp_path):
    world = World(face=lambda index: FACE if not 10 <= index <= 16 else None, overlooks=(12, 24))
    results = analysed(world, tmp_path / "a.mp4", frames=25, detect_every=12, tracker=Remembering())
    assert seen(results) == [1] * 10 + [0] * 9 + [1] * 5 + [0]  # in frames 13 and 16 in vain


def test_that_it_is_not_there_is_no_reason_to_detect(tmp_path):
    world = World(face=still(last=0))
    analysed(world, tmp_path / "a.mp4", frames=49, detect_every=24, tracker=Remembering())
    assert world.detected == [0, 24, 12, 48]  # its loss was


def test_where_nothing_is_known_nobody_looks(tmp_path):
    class Unseen(World):
        def refine(self, frames, near):
            raise AssertionError("nothing is near")

    assert seen(analysed(Unseen(), tmp_path / "a.mp4", frames=20)) == [0] * 20


def test_things_of_other_labels_are_not_the_same(tmp_path):
    world = World(cat=still(last=5), dog=still((12, 10, 32, 30), first=6), words={"cat": "cat", "dog": "dog"})
    results = analysed(world, tmp_path / "a.mp4", frames=11, detect_every=10)
    assert [each.label for result in results for each in result.detections] == ["cat"] * 6 + ["dog"] * 5


def test_before_a_cut_nobody_is_looked_for_who_is_seen_after_it():
    light = np.zeros((48, 64, 3), np.uint8)
    light[:, 32:] = 200
    world = World(one=still(last=5), two=still(first=6))
    pictures = [light] * 6 + [light[:, ::-1]] * 5
    results = process(world, [pictures], detect_every=10)
    assert seen(results) == [1] * 11
    assert world.detected == [0, 10, 6]
    assert all(index < 6 for index in world.refined[-1]) or all(index > 6 for index in world.refined[-1])


def test_faces_of_all_streams_are_looked_for_together():
    world = World(face=still())
    process(world, [[grey_image(64, 48)] * 4] * 2, detect_every=3)
    assert world.refined == [[1, 2, 1, 2]]


def process(world, streams, *, detect_every):
    """Take all frames of some streams as one batch."""
    stages = Stages(
        detector=world, make_tracker=OrderTracker, classifiers=[], make_analyzers=[], names={}, detect_every=detect_every
    )
    batch = []
    for i, pictures in enumerate(streams):
        stream = StreamInfo(name=f"stream {i}", width=64, height=48)
        state = StreamState(stream, stages, Counters(), recorded=True)
        batch += [(state, make_frame(picture, index=k, seconds=k / 25, stream=stream)) for k, picture in enumerate(pictures)]
    analysis = Analysis(stages)
    done, error = analysis.process(batch)
    assert error is None
    for state in dict.fromkeys(state for state, _ in batch):
        done += analysis.finish(state)[0]
    return [result for _, result in done]


def test_where_looking_fails_all_frames_before_are_delivered(tmp_path):
    got = []
    synthetic_video(tmp_path / "a.mp4", frames=20)
    pipeline = Pipeline(detector=World(face=still(), fail_at=5), tracker=OrderTracker(), classifiers=[])
    with pytest.raises(StageError, match=r"plugin 'World' failed on frame 5 .*told to fail"):
        got += (result for result in pipeline.run(str(tmp_path / "a.mp4")))
    assert seen(got) == [1] * 5


def test_where_detecting_fails_the_frames_before_are_followed_from_their_start(tmp_path):
    class Failing(World):
        def detect(self, frames):
            if any(frame.index > 0 for frame in frames):
                raise RuntimeError("told to fail")
            return super().detect(frames)

    got = []
    synthetic_video(tmp_path / "a.mp4", frames=20)
    pipeline = Pipeline(detector=Failing(face=still()), tracker=OrderTracker(), classifiers=[], detect_every=8)
    with pytest.raises(StageError, match="frame 8 "):
        got += (result for result in pipeline.run(str(tmp_path / "a.mp4")))
    assert seen(got) == [1] * 8


def test_frames_handed_in_wait_for_no_later_ones(tmp_path):
    """Who makes the next picture out of the last result must get it."""
    fed = []

    def pictures():
        for number in range(12):
            assert number - len(fed) < 8, "the results do not come"
            yield grey_image(64, 48)

    pipeline = Pipeline(detector=World(face=still()), tracker=OrderTracker(), classifiers=[], batch=1)
    fed += pipeline.run(pictures())
    assert len(fed) == 12
