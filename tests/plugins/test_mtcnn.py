"""The detector `mtcnn` against facenet-pytorch's own, and on pictures that hold nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

from framehook import Detections, Detector, DeviceError, Frame, Image, OptionError, StreamInfo, VideoSource, geometry
from framehook_plugins.mtcnn.cascade import Cascade
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.mtcnn.feeding import load_networks

CLIPS = {  # frames that are quick to reach and, where there are any, show faces
    "classroom.gif": (0, 20, 40),
    "face-demographics-walking.gif": (0, 5, 15),
    "face-demographics-walking-and-pause.gif": (0, 20),
    "facenet-multiface-1080p.mp4": (0, 15),
    "head-pose-face-detection-female.gif": (0, 22),
    "head-pose-face-detection-female-and-male.gif": (0, 21),
    "humans_mot.mp4": (0, 22),
    "nasa_13013.mp4": (0, 42, 60),
    "sign-again-480p.mkv": (0, 24, 35),
    "sign-bird-480p.mkv": (0, 30),
    "sign-thanks-480p.mkv": (0, 30),
    "wave.mp4": (0, 60),
}


class Pixels:
    """A picture made of an array."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def rgb(self) -> Image:
        return self._image.copy()

    def scaled(self, width: int, height: int) -> Image:
        raise AssertionError("MTCNN scales by itself")


def picture(image: Image) -> Frame:
    info = StreamInfo(name="array", width=image.shape[1], height=image.shape[0])
    return Frame(stream=info, index=0, pts=0, time_base=Fraction(1, 25), picture=Pixels(image))


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def frames_of(path: Path, indices: tuple[int, ...]) -> Iterator[Frame]:
    with VideoSource(path, name=path.stem) as source:
        for frame in source:
            if frame.index in indices:
                yield frame
            if frame.index == indices[-1]:
                return


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run torch on one thread: on busy machines its threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["torch", "openvino", "onnxruntime"])
def detector(request: pytest.FixtureRequest) -> MtcnnDetector:
    return MtcnnDetector(device="cpu", backend=request.param)


@pytest.fixture(scope="module")
def reference() -> MTCNN:
    return MTCNN(device="cpu")


@pytest.fixture(scope="module")
def faces(shared_videos: Path) -> Frame:
    """A frame with two faces."""
    return next(frames_of(shared_videos / "head-pose-face-detection-female-and-male.gif", (0,)))


def test_the_clips_that_are_compared_are_all_there_are(shared_videos: Path) -> None:
    assert sorted(path.name for path in shared_videos.iterdir()) == sorted(CLIPS)


@pytest.mark.parametrize(("clip", "indices"), CLIPS.items(), ids=CLIPS)
def test_it_finds_what_facenet_pytorch_finds(
    shared_videos: Path, detector: MtcnnDetector, reference: MTCNN, clip: str, indices: tuple[int, ...]
) -> None:
    for frame in frames_of(shared_videos / clip, indices):
        (found,) = detector.detect([frame])
        boxes, scores, landmarks = reference.detect(frame.image, landmarks=True)
        if boxes is None:
            assert len(found) == 0
            continue
        order = np.argsort(-scores.astype(np.float64))
        overlap = geometry.iou(found.boxes, boxes[order].astype(np.float32))
        assert overlap.shape == (len(boxes), len(boxes))
        assert overlap.diagonal().min() > 0.95
        np.testing.assert_allclose(found.scores, scores[order].astype(np.float32), atol=0.01)
        np.testing.assert_allclose(found.attributes["landmarks"], landmarks[order].astype(np.float32), atol=1.0)


def test_the_clips_show_faces_where_the_comparison_looks(shared_videos: Path, detector: MtcnnDetector) -> None:
    found = detector.detect(list(frames_of(shared_videos / "nasa_13013.mp4", (0, 42, 60))))
    assert [len(detections) for detections in found] == [1, 1, 1]


def test_it_keeps_the_detector_protocol(detector: MtcnnDetector) -> None:
    assert isinstance(detector, Detector)
    assert detector.detect([]) == []


def test_landmarks_lie_in_their_box_and_the_best_face_comes_first(detector: MtcnnDetector, faces: Frame) -> None:
    (found,) = detector.detect([faces])
    assert found.names == ("face",)
    assert found.attributes["landmarks"].shape == (2, 5, 2)
    assert found.scores[0] >= found.scores[1] > 0.9
    for face in found:
        x, y = face.attributes["landmarks"].T
        assert face.box[0] < x.min() <= x.max() < face.box[2]
        assert face.box[1] < y.min() <= y.max() < face.box[3]
        assert x[0] < x[1]
        assert max(y[:2]) < y[2] < min(y[3:])


@pytest.mark.parametrize(
    "shape",
    [(0, 0), (0, 64), (64, 0), (1, 1), (1, 500), (500, 1), (11, 11), (19, 19), (15, 300), (20, 20), (64, 64)],
    ids=lambda shape: f"{shape[1]}x{shape[0]}",
)
def test_a_picture_too_small_or_without_a_face_gives_an_empty_result(detector: MtcnnDetector, shape: tuple[int, int]) -> None:
    (found,) = detector.detect([picture(noise(*shape))])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.attributes["landmarks"].shape == (0, 5, 2)


@pytest.mark.parametrize("colour", [0, 128, 255], ids=["black", "grey", "white"])
def test_a_flat_picture_gives_an_empty_result(detector: MtcnnDetector, colour: int) -> None:
    (found,) = detector.detect([picture(np.full((240, 320, 3), colour, np.uint8))])
    assert len(found) == 0


def test_pictures_of_mixed_sizes_in_one_batch_give_what_each_gives_alone(detector: MtcnnDetector, faces: Frame) -> None:
    batch = [
        picture(noise(0, 0)),
        faces,
        picture(noise(1, 1)),
        picture(faces.image[:, :240]),
        picture(noise(18, 30)),
        picture(faces.image[20:200, 200:].copy()),
        faces,
    ]
    together = detector.detect(batch)
    alone = [detector.detect([frame])[0] for frame in batch]
    assert [len(found) for found in together] == [0, 2, 0, 1, 0, 1, 2]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores, atol=0.001)


def test_threads_may_share_a_detector(detector: MtcnnDetector, faces: Frame) -> None:
    frames = [faces, picture(faces.image[:, :240]), picture(faces.image[20:200, 200:].copy())]
    alone = [detector.detect([frame])[0] for frame in frames]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda frame: detector.detect([frame])[0], frames * 8))
    for one, other in zip(found, alone * 8, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores, atol=0.001)


def test_networks_that_are_fed_all_at_once_as_on_a_gpu_find_the_same(shared_videos: Path, faces: Frame) -> None:
    others = frames_of(shared_videos / "head-pose-face-detection-female-and-male.gif", (5, 10))
    images = [faces.image, *(frame.image for frame in others), faces.image[:100, :150]]
    options: dict[str, Any] = {"min_face": 20, "thresholds": (0.6, 0.7, 0.7), "factor": 0.709}
    together, alone = load_networks("torch", "cpu"), load_networks("torch", "cpu")
    together.cached = False
    found = zip(Cascade(together, **options).find(images), Cascade(alone, **options).find(images), strict=True)
    for one, other in found:
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-3)


def test_more_candidates_than_fit_into_one_batch_of_crops_stay_with_their_pictures(
    shared_videos: Path, detector: MtcnnDetector
) -> None:
    frames = list(frames_of(shared_videos / "classroom.gif", tuple(range(16))))
    for one, frame in zip(detector.detect(frames), frames, strict=True):
        (other,) = detector.detect([frame])
        np.testing.assert_allclose(one.scores, other.scores, atol=0.001)
        assert geometry.iou(one.boxes, other.boxes).diagonal().min() > 0.8  # of two equal candidates, either may stay


@pytest.mark.parametrize(("min_face", "faces"), [(20, 4), (60, 0)])
def test_faces_much_smaller_than_the_smallest_asked_for_are_left_out(shared_videos: Path, min_face: int, faces: int) -> None:
    (frame,) = frames_of(shared_videos / "classroom.gif", (0,))
    (found,) = MtcnnDetector(min_face=min_face, device="cpu").detect([frame])
    assert len(found) == faces


@pytest.mark.parametrize("clip", ["head-pose-face-detection-female-and-male.gif", "face-demographics-walking-and-pause.gif"])
def test_known_faces_are_found_again_in_the_next_frame_where_detection_finds_them(
    shared_videos: Path, detector: MtcnnDetector, clip: str
) -> None:
    before, now = frames_of(shared_videos / clip, (15, 16))
    known, wanted = detector.detect([before, now])
    known = known.with_tracks(100 + np.arange(len(known))).without_attributes("landmarks")

    (found,) = detector.refine([now], [known])

    overlap = geometry.iou(wanted.boxes, found.boxes)
    assert len(found) == len(wanted)
    assert overlap.max(axis=1).min() > 0.7
    nearest = geometry.iou(found.boxes, known.boxes).argmax(axis=1)
    assert found.tracks.tolist() == known.tracks[nearest].tolist()
    assert found.attributes["landmarks"].shape == (len(found), 5, 2)


def test_a_face_that_went_away_is_not_found_again(detector: MtcnnDetector, faces: Frame) -> None:
    (known,) = detector.detect([faces])
    (found,) = detector.refine([picture(noise(faces.height, faces.width))], [known.with_tracks([1, 2])])
    assert len(found) == 0


@pytest.mark.parametrize("away", [(-2000, 0), (0, -2000), (2000, 2000)], ids=str)
def test_a_face_expected_outside_the_picture_is_not_found_and_the_others_are(
    detector: MtcnnDetector, faces: Frame, away: tuple[int, int]
) -> None:
    (known,) = detector.detect([faces])
    gone = Detections(boxes=known.boxes[:1] + np.tile(away, 2))
    assert len(detector.refine([faces], [gone])[0]) == 0
    there = known.without_attributes("landmarks")
    (found,), (without,) = (detector.refine([faces], [some]) for some in (Detections.concatenate([gone, there]), there))
    assert geometry.iou(known.boxes, found.boxes).max(axis=1).min() > 0.8
    np.testing.assert_allclose(found.boxes, without.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, without.scores, atol=1e-4)


def test_where_nothing_is_known_the_picture_is_not_converted(detector: MtcnnDetector, faces: Frame) -> None:
    class Untouchable(Pixels):
        def rgb(self) -> Image:
            raise AssertionError("nobody needs these pixels")

    info = StreamInfo(name="array", width=64, height=48)
    frame = Frame(stream=info, index=0, pts=0, time_base=Fraction(1, 25), picture=Untouchable(noise(48, 64)))
    assert [len(found) for found in detector.refine([frame], [Detections.empty()])] == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_face": 0}, "'min_face' got 0: input should be greater than or equal to 6"),
        ({"factor": 0.95}, "'factor' got 0.95: input should be less than or equal to 0.9"),
        ({"thresholds": (0.6, 0.7)}, "'thresholds'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"^plugin 'mtcnn': option {message}"):
        MtcnnDetector(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
def test_a_device_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda' is not there: .* use device 'cpu' or 'auto'"):
        MtcnnDetector(device="cuda")
