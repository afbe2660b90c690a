"""The tracker `iou`, on faces that move as we say and on real clips."""

import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from framehook import Detections, Frame, Image, OptionError, StreamInfo, VideoSource
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.trackers.iou import IouTracker

STREAM = StreamInfo(name="synthetic", width=1280, height=720)
SIZE = 60.0

Point = tuple[float, float]


class Unseen:
    """A picture that nobody may look at: tracking needs no pixels."""

    def rgb(self) -> Image:
        raise AssertionError("the tracker looked at the picture")

    def scaled(self, width: int, height: int) -> Image:
        raise AssertionError("the tracker looked at the picture")


def at(seconds: float) -> Frame:
    return Frame(stream=STREAM, index=0, pts=round(seconds * 90_000), time_base=Fraction(1, 90_000), picture=Unseen())


def faces(centres: Sequence[Point], *, size: float = SIZE, **more: Any) -> Detections:
    points = np.array(centres, dtype=np.float64).reshape(-1, 2)
    return Detections(boxes=np.hstack([points - size / 2, points + size / 2]), **more)


def follow(tracker: IouTracker, times: Iterable[float], where: Callable[[float], Sequence[Point]]) -> list[list[int]]:
    """Show the tracker faces at `where(t)` for each time t, and return their tracks."""
    return [tracker.update(at(t), faces(where(t))).tracks.tolist() for t in times]


def every(interval: float, *, start: float = 0.0, end: float) -> list[float]:
    return [float(t) for t in np.arange(start, end, interval)]


def test_one_face_gets_the_id_1_in_its_third_frame_and_keeps_it() -> None:
    tracks = follow(IouTracker(), every(0.04, end=2), lambda t: [(300 + 100 * math.sin(3 * t), 300)])
    assert tracks == [[-1], [-1]] + [[1]] * 48


@pytest.mark.parametrize("speed", [1.0, 4.0, 15.0], ids=lambda speed: f"{speed}-sizes-per-second")
def test_faces_that_cross_keep_their_ids(speed: float) -> None:
    meet = 1.0
    tracks = follow(
        IouTracker(),
        every(0.04, start=max(0.0, meet - 600 / (speed * SIZE)), end=meet + min(1.0, 600 / (speed * SIZE))),
        lambda t: [(640 + speed * SIZE * (t - meet), 350), (640 - speed * SIZE * (t - meet), 360)],
    )
    assert tracks[2:] == [[1, 2]] * (len(tracks) - 2)


def test_faces_that_hide_each_other_while_they_cross_keep_their_ids() -> None:
    def where(t: float) -> list[Point]:
        return [] if 0.8 < t < 1.2 else [(640 + 150 * (t - 1), 350), (640 - 150 * (t - 1), 350)]

    tracks = [ids for ids in follow(IouTracker(), every(0.04, end=2), where) if ids]
    assert tracks[2:] == [[1, 2]] * (len(tracks) - 2)


@pytest.mark.parametrize(("gap", "afterwards"), [(0.9, 1), (1.4, 1), (3.0, 2)])
@pytest.mark.parametrize("speed", [0.0, 60.0], ids=["still", "walking"])
def test_a_track_survives_a_gap_of_a_second_but_not_one_of_three(gap: float, afterwards: int, speed: float) -> None:
    tracker = IouTracker()
    follow(tracker, every(0.04, end=2), lambda t: [(200 + speed * t, 300)])
    follow(tracker, every(0.04, start=2, end=2 + gap), lambda t: [])
    tracks = follow(tracker, every(0.04, start=2 + gap, end=4 + gap), lambda t: [(200 + speed * t, 300)])
    assert tracks[-1] == [afterwards]
    assert {track for ids in tracks for track in ids} <= {-1, afterwards}


def test_a_face_is_followed_at_any_frame_rate_also_one_that_varies() -> None:
    times = np.cumsum(np.random.default_rng(0).choice([0.01, 0.04, 0.1, 0.3], size=200)).tolist()
    tracks = follow(IouTracker(), times, lambda t: [(640 + 300 * math.sin(t), 300)])
    assert tracks[2:] == [[1]] * 198


def test_a_face_that_moves_by_more_than_its_size_between_frames_is_followed() -> None:
    tracks = follow(IouTracker(), every(0.08, end=1), lambda t: [(100 + 1.1 * SIZE * t / 0.08, 300)])
    assert tracks == [[-1], [-1]] + [[1]] * 11


def test_a_face_that_comes_near_is_followed_and_its_prediction_grows() -> None:
    tracker = IouTracker()
    sizes = [30 * 1.05**i for i in range(45)]  # to eight times its size in less than two seconds
    tracks = [tracker.update(at(i * 0.04), faces([(640, 300)], size=size)).tracks.tolist() for i, size in enumerate(sizes)]
    assert tracks[2:] == [[1]] * 43
    box = tracker.predict(at(45 * 0.04)).boxes[0]
    assert box[2] - box[0] == pytest.approx(sizes[-1], rel=0.1)


def test_a_track_that_has_settled_does_not_jump_where_a_new_one_may() -> None:
    jump = 0.65 * SIZE
    settled, new = IouTracker(), IouTracker()
    follow(settled, every(0.08, end=2), lambda t: [(300, 300)])
    assert follow(settled, [2.0], lambda t: [(300 + jump, 300)]) == [[-1]]
    assert follow(new, [0.0, 0.08, 0.16], lambda t: [(300 + jump * t / 0.08, 300)]) == [[-1], [-1], [1]]


def test_with_confirm_1_a_sure_detection_has_its_id_at_once() -> None:
    seen = Detections(boxes=[[0, 0, 0, 0], [270, 270, 330, 330], [500, 500, 560, 560]], scores=[1, 1, 0.8])
    assert IouTracker(confirm=1).update(at(0), seen).tracks.tolist() == [-1, 1, -1]


def test_one_frame_a_second_is_enough() -> None:
    assert follow(IouTracker(), range(5), lambda t: [(300 + 20 * t, 300)]) == [[-1], [-1], [1], [1], [1]]


def test_faces_side_by_side_do_not_take_over_each_others_ids() -> None:
    centres = [(100 + 1.2 * SIZE * i, 300) for i in range(15)]
    random = np.random.default_rng(0)
    tracker = IouTracker()
    owners: list[set[int]] = [set() for _ in centres]
    for t in every(0.04, end=6):
        seen = np.flatnonzero(random.random(15) > 0.3)
        tracks = tracker.update(at(t), faces([centres[i] for i in seen])).tracks
        for i, track in zip(seen, tracks, strict=True):
            owners[i].add(int(track))
    assert sorted(max(ids) for ids in owners) == list(range(1, 16))
    assert all(len(ids - {-1}) == 1 for ids in owners)


def test_a_detection_of_one_frame_makes_no_track() -> None:
    tracker = IouTracker()
    tracks = follow(tracker, every(0.04, end=2), lambda t: [(300, 300)] + [(900, 500)] * (abs(t - 1) < 0.01))
    assert [ids[1] for ids in tracks if len(ids) > 1] == [-1]
    assert tracker.predict(at(2)).tracks.tolist() == [1]


def test_what_flashes_up_now_and_again_makes_no_track() -> None:
    tracks = follow(IouTracker(), every(0.04, end=10), lambda t: [(900, 500)] * (round(t / 0.04) % 20 == 0))
    assert [ids for ids in tracks if ids] == [[-1]] * 13


def test_detections_of_low_score_that_flicker_make_no_track_and_steady_ones_do_after_two_seconds() -> None:
    tracker = IouTracker()
    ids = []
    for i in range(100):
        seen = faces([(300, 300)] + [(900, 500)] * (i % 5 < 4), scores=[0.9] + [0.9] * (i % 5 < 4))
        ids.append(tracker.update(at(i * 0.04), seen).tracks.tolist())
    assert [track for track, *_ in ids] == [-1] * 50 + [1] * 50
    assert {track for _, *tracks in ids for track in tracks} == {-1}


def test_low_scores_continue_a_track() -> None:
    tracker = IouTracker()
    scores = [1.0] * 3 + [0.3] * 9
    ids = [tracker.update(at(i * 0.04), faces([(300, 300)], scores=[score])).tracks[0] for i, score in enumerate(scores)]
    assert ids == [-1, -1] + [1] * 10


@pytest.mark.parametrize(
    ("leap", "track_after"),
    [(-10, 2), (10, 2), (-0.02, 1), (0.0, 1)],
    ids=["back", "ahead", "jitter", "same-time"],
)
def test_tracks_end_when_time_leaps_and_outlive_jitter(leap: float, track_after: int) -> None:
    tracker = IouTracker()
    follow(tracker, every(0.04, start=20, end=22), lambda t: [(300, 300)])
    tracks = follow(tracker, every(0.04, start=21.96 + leap, end=23 + leap), lambda t: [(300, 300)])
    assert tracks[-1] == [track_after]


def test_no_id_is_used_twice() -> None:
    tracker = IouTracker()
    ids = [follow(tracker, every(0.1, start=10 * i, end=10 * i + 1), lambda t: [(300, 300), (900, 300)])[-1] for i in range(5)]
    assert ids == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]


def test_a_track_that_left_the_picture_does_not_pass_its_id_to_who_comes_in() -> None:
    tracker = IouTracker()
    follow(tracker, every(0.04, end=0.6), lambda t: [(1210 + 150 * t, 300)])
    follow(tracker, every(0.04, start=0.6, end=1), lambda t: [])
    assert follow(tracker, every(0.04, start=1, end=1.3), lambda t: [(1272, 300)])[-1] == [2]


def test_a_face_of_another_size_beside_a_lost_track_does_not_get_its_id() -> None:
    tracker = IouTracker()
    follow(tracker, every(0.04, end=1), lambda t: [(300, 300)])
    follow(tracker, every(0.04, start=1, end=1.5), lambda t: [])
    assert tracker.update(at(1.5), faces([(360, 300)], size=SIZE * 1.5)).tracks.tolist() == [-1]
    assert tracker.update(at(1.54), faces([(255, 300)], size=SIZE * 1.1)).tracks.tolist() == [1]


def test_memory_does_not_grow_with_the_stream() -> None:
    tracker = IouTracker()
    sizes = []
    for i in range(20_000):
        # A new person every 10 frames, there for 5 of them, and a false alarm every 4 frames, each somewhere else.
        place = (i // 10 * 97 % 1200 + 40, i // 10 * 31 % 600 + 40)
        seen = [place] * (i % 10 < 5) + [(i * 53 % 1280, i * 89 % 720)] * (i % 4 == 0)
        tracker.update(at(i * 0.04), faces(seen))
        if i % 50 == 0:
            sizes.append(len(pickle.dumps(tracker)))
    assert 1900 <= tracker.predict(at(20_000 * 0.04)).tracks.max() <= 2000
    assert max(sizes[20:]) < 1.5 * max(sizes[:20])


def test_detections_of_different_labels_are_never_one_track() -> None:
    tracker = IouTracker()
    names = ("face", "person")
    for i in range(4):
        both = tracker.update(at(i * 0.04), faces([(300, 300), (300, 300)], labels=[0, 1], names=names))
    assert both.tracks.tolist() == [1, 2]
    assert tracker.update(at(0.2), faces([(300, 300)], labels=[1], names=names)).tracks.tolist() == [2]
    assert tracker.predict(at(0.2)).labels.tolist() == [0, 1]


def test_tracks_wait_while_their_word_is_not_named() -> None:
    tracker = IouTracker()
    for i in range(4):
        tracker.update(at(i * 0.04), faces([(300, 300)], labels=[1], names=("face", "person")))
    assert tracker.update(at(0.16), faces([(300, 300)], names=("car",))).tracks.tolist() == [-1]
    (waiting,) = tracker.predict(at(0.16))
    assert (waiting.label, waiting.track) == ("person", 1)
    assert tracker.update(at(0.20), faces([(300, 300)], names=("person",))).tracks.tolist() == [1]


def test_tracks_end_a_gap_after_their_word_was_last_named() -> None:
    tracker = IouTracker(confirm=1, gap_seconds=0.5)
    tracker.update(at(0), faces([(300, 300)], names=("person",)))
    for i in range(1, 20):
        tracker.update(at(i * 0.04), faces([(600, 300)], names=("car",)))
    assert [(row.label, row.track) for row in tracker.predict(at(0.8))] == [("car", 2)]
    assert tracker.update(at(0.8), faces([(300, 300)], names=("person",))).tracks.tolist() == [3]


def test_tracks_go_on_though_other_words_are_named_on_each_frame() -> None:
    tracker = IouTracker(confirm=1)
    for i, names in enumerate([("car",), ("dog", "car"), ("car", "dog"), ("car",), (), ("dog", "car", "bus")]):
        places = {"car": (300, 300), "dog": (600, 300), "bus": (900, 300)}
        seen = faces([places[name] for name in names], labels=range(len(names)), names=names)
        tracks = dict(zip(names, tracker.update(at(i * 0.04), seen).tracks.tolist(), strict=True))
        assert tracks == {name: {"car": 1, "dog": 2, "bus": 3}[name] for name in names}


def test_everything_but_the_tracks_is_returned_as_it_came() -> None:
    tracker = IouTracker()
    landmarks = np.random.default_rng(0).random((3, 5, 2))
    seen = faces([(900, 300), (300, 300), (600, 300)], scores=[0.8, 1, 0.99], attributes={"landmarks": landmarks})
    tracked = [tracker.update(at(i * 0.04), seen) for i in range(3)][-1]
    assert tracked.tracks.tolist() == [-1, 1, 2]
    assert seen.tracks.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(tracked.boxes, seen.boxes)
    np.testing.assert_array_equal(tracked.scores, seen.scores)
    np.testing.assert_array_equal(tracked.attributes["landmarks"], landmarks)


def test_boxes_without_an_area_or_with_nan_belong_to_no_track_and_disturb_none() -> None:
    tracker = IouTracker()
    broken = [[300, 300, 300, 360], [350, 350, 340, 360], [math.nan, 0, 10, 10], [math.inf, 0, math.inf, 10]]
    seen = Detections(boxes=[*broken, [270, 270, 330, 330]])
    tracks = [tracker.update(at(i * 0.04), seen).tracks.tolist() for i in range(5)]
    assert tracks[-1] == [-1, -1, -1, -1, 1]
    assert np.isfinite(tracker.predict(at(0.3)).boxes).all()


def test_empty_detections_are_no_error() -> None:
    tracker = IouTracker()
    assert len(tracker.predict(at(0))) == 0
    assert len(tracker.update(at(0), Detections.empty())) == 0
    assert len(tracker.predict(at(1))) == 0


def test_predict_says_where_a_walking_face_will_be() -> None:
    tracker = IouTracker()
    for i in range(60):
        tracker.update(at(i * 0.04), faces([(200 + 4 * i, 300), (900, 300)], scores=[0.99, 0.5]))
    expected = tracker.predict(at(60 * 0.04))
    np.testing.assert_allclose(expected.boxes, faces([(440, 300), (900, 300)]).boxes, atol=2)
    np.testing.assert_allclose(expected.scores, [0.99, 0.5])
    assert (expected.tracks.tolist(), expected.names, dict(expected.attributes)) == ([1, 2], ("face",), {})


def test_boxes_that_jitter_do_not_throw_the_prediction_about() -> None:
    tracker, random, ahead = IouTracker(), np.random.default_rng(0), []
    for i in range(200):
        tracker.update(at(i * 0.04), faces([random.normal([300, 300], 0.02 * SIZE)]))
        ahead += tracker.predict(at(i * 0.04 + 0.5)).boxes.tolist()
    assert np.std(ahead, axis=0).max() < 0.15 * SIZE


def test_predict_does_not_fly_away_and_forgets_after_the_gap() -> None:
    tracker = IouTracker()
    follow(tracker, every(0.04, end=1.02), lambda t: [(200 + 300 * t, 300)])
    centre = tracker.predict(at(2.4)).boxes[0, [0, 2]].mean()
    assert 500 < centre < 500 + 300 * 0.6
    assert len(tracker.predict(at(2.6))) == 0


def test_predict_changes_nothing() -> None:
    asked, left_alone = IouTracker(), IouTracker()
    for t in every(0.04, end=1):
        assert follow(asked, [t], lambda t: [(200 + 300 * t, 300)]) == follow(left_alone, [t], lambda t: [(200 + 300 * t, 300)])
        for later in (0.02, 0.5, 5.0, -5.0):
            asked.predict(at(t + later))
    assert pickle.dumps(asked) == pickle.dumps(left_alone)


@pytest.mark.parametrize(
    "options",
    [{"gap_seconds": 0}, {"gap_seconds": math.inf}, {"confirm": 0}, {"min_iou": 1}, {"reach": -1}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(OptionError, match=f"^plugin 'iou': option '{name}' got {value}: input should be "):
        IouTracker(**options)


def track_clip(path: Path, *, step: int = 1, min_face: int = 20) -> dict[int, Detections]:
    """Return what a clip shows in every `step`-th frame, by frame index."""
    detector, tracker = MtcnnDetector(min_face=min_face), IouTracker()
    with VideoSource(path, name=path.stem) as source:
        frames = (frame for frame in source if frame.index % step == 0)
        return {frame.index: tracker.update(frame, *detector.detect([frame])) for frame in frames}


def track_at(clip: dict[int, Detections], index: int, point: Point) -> int:
    """Return the track of the one detection that holds a point."""
    boxes: NDArray[np.float32] = clip[index].boxes
    inside = ((boxes[:, 0:2] <= point) & (boxes[:, 2:4] >= point)).all(axis=1)
    (row,) = np.flatnonzero(inside)
    return int(clip[index].tracks[row])


@pytest.mark.parametrize(
    ("clip", "persons"),
    [("head-pose-face-detection-female", 1), ("head-pose-face-detection-female-and-male", 2)],
)
def test_each_person_of_the_head_pose_clips_is_one_track_from_the_third_frame_on(
    shared_videos: Path, clip: str, persons: int
) -> None:
    results = track_clip(shared_videos / f"{clip}.gif")
    assert all(sorted(results[i].tracks) == list(range(1, persons + 1)) for i in range(2, len(results)))


def test_the_face_printed_on_a_shirt_that_flickers_makes_no_track(shared_videos: Path) -> None:
    results = track_clip(shared_videos / "sign-again-480p.mkv", min_face=40)
    assert sum(len(result) for result in results.values()) > len(results)  # it is found now and again
    assert {track for result in results.values() for track in result.tracks.tolist()} == {-1, 1}


def test_each_person_of_the_busy_clip_keeps_one_id_while_in_view(shared_videos: Path) -> None:
    clip = track_clip(shared_videos / "facenet-multiface-1080p.mp4", step=3, min_face=40)
    seen = {  # where each person's face is, in the first and last frame that shows it clearly: found by looking
        "blonde woman": [(9, (314, 695)), (90, (253, 707))],
        "man with red hair": [(9, (757, 613)), (96, (468, 656))],
        "woman who walks through": [(9, (651, 811)), (33, (1579, 867))],
        "boy": [(9, (959, 678)), (102, (793, 713))],
        "man behind, hidden for a while": [(9, (1112, 658)), (102, (1140, 694))],
        "man with glasses": [(57, (1152, 735)), (102, (1206, 713))],
    }
    tracks = {person: [track_at(clip, index, point) for index, point in views] for person, views in seen.items()}
    assert all(first == last > 0 for first, last in tracks.values()), tracks
    assert len({first for first, _ in tracks.values()}) == len(seen)
