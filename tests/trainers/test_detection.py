import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data

from framehook import UsageError
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_trainers.datasets import detection
from framehook_trainers.datasets.detection import Found, choose_faces, decode, examine, unpack
from framehook_trainers.datasets.formats import read_samples
from framehook_trainers.datasets.quality import QualityLimits, sharpness
from framehook_trainers.datasets.storage import FileReader


def found(*boxes):
    """What MTCNN might find: boxes, each with landmarks at its first corner."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Found(boxes, boxes[:, None, :2].repeat(5, axis=1), np.linspace(1, 0.5, len(boxes), dtype=np.float32))


def test_of_several_faces_the_usual_place_wins():
    usual, other, near = [20, 20, 80, 80], [0, 0, 30, 30], [22, 21, 82, 80]

    chosen = choose_faces([(100, 100)] * 4, [found(usual), found(usual), found(other, near), found()])

    np.testing.assert_allclose(chosen.boxes, [usual, usual, near, usual], rtol=1e-6)
    assert chosen.found.tolist() == [True, True, True, False]
    assert chosen.landmarks[2, 0].tolist() == [22, 21]
    assert np.isnan(chosen.landmarks[3]).all()
    np.testing.assert_array_equal(chosen.scores, np.array([1, 1, 0.5, np.nan], np.float32))


def test_a_pictures_only_face_may_lie_anywhere_if_that_is_asked_for():
    usual, elsewhere = [0, 0, 40, 40], [60, 60, 90, 90]
    seen = [found(usual), found(usual), found(elsewhere), found(elsewhere, [61, 61, 95, 95])]

    for anywhere, boxes in ((False, [usual] * 4), (True, [usual, usual, elsewhere, usual])):
        chosen = choose_faces([(100, 100)] * 4, seen, anywhere=anywhere)
        np.testing.assert_allclose(chosen.boxes, boxes, rtol=1e-6)
        assert chosen.found.tolist() == [True, True, anywhere, False]


def test_where_no_face_is_found_anywhere_the_whole_picture_is_taken():
    chosen = choose_faces([(50, 40)], [found()])

    assert chosen.boxes.tolist() == [[0, 0, 50, 40]]
    assert not chosen.found[0]


def test_mtcnn_finds_the_faces_of_real_chips(shared_data):
    samples = read_samples("utkface", str(shared_data)).samples[::1500]

    examined = unpack(examine([sample.read for sample in samples]))
    chosen = choose_faces([(200, 200)] * len(samples), [one.found for one in examined])

    assert chosen.found.mean() >= 0.9
    assert np.nanmedian(chosen.scores) > 0.95
    sides = (chosen.boxes[:, 2:] - chosen.boxes[:, :2]).max(axis=1) / 200
    assert 1.1 < np.median(sides) < 1.45


def test_each_picture_is_told_with_its_problem_or_its_size(tmp_path, picture):
    wide = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    files = {
        "wide": wide,
        "dot": picture(0, 1, ".png"),
        "cut": picture(1, 50, ".jpg")[:-200],
        "empty": b"",
        "text": b"no picture",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    examined = dict(
        zip([*files, "gone"], unpack(examine([FileReader(str(tmp_path / n)) for n in [*files, "gone"]])), strict=True)
    )

    assert {name: one.problem for name, one in examined.items()} == {
        "wide": "",
        "dot": "",
        "cut": "corrupt picture",
        "empty": "corrupt picture",
        "text": "corrupt picture",
        "gone": "missing picture",
    }
    assert [(one.file.width, one.file.height) for one in examined.values()] == [(30, 20), (1, 1), (0, 0), (0, 0), (0, 0), (0, 0)]
    assert len({one.file.digest for one in examined.values()}) == 6
    assert all(len(one.found.boxes) == 0 for one in examined.values())


class Watched:
    """A detector that notes how many pictures it was given at once."""

    def __init__(self):
        self.own = MtcnnDetector(min_face=detection.MIN_FACE, device="cpu")
        self.seen = []

    def detect(self, frames):
        self.seen.append(len(frames))
        return self.own.detect(frames)


def test_of_large_pictures_fewer_are_in_memory_at_once_and_the_faces_are_the_same(tmp_path, picture, monkeypatch):
    portrait = cv2.imread(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    pictures = [cv2.imencode(".png", cv2.resize(portrait, (128 + 4 * i, 150)))[1].tobytes() for i in range(6)]
    for i, data in enumerate([*pictures[:3], b"no picture", *pictures[3:]]):
        (tmp_path / f"{i}.png").write_bytes(data)
    reads = [FileReader(str(tmp_path / f"{i}.png")) for i in range(7)]
    watched = Watched()
    monkeypatch.setattr(detection, "_detector", lambda: watched)

    together = examine(reads)
    monkeypatch.setattr(detection, "_BATCH_PIXELS", 150 * 250)
    parted = examine(reads)

    assert watched.seen == [6, 2, 2, 2]
    assert together["count"].sum() >= 6
    assert together.keys() == parted.keys()
    for name, values in together.items():
        np.testing.assert_array_equal(parted[name], values)
        assert parted[name].dtype == values.dtype


def test_pictures_are_rgb():
    blue = np.full((4, 4, 3), (255, 0, 0), np.uint8)  # as OpenCV writes it

    assert decode(cv2.imencode(".png", blue)[1].tobytes())[0, 0].tolist() == [0, 0, 255]


def test_sharpness_falls_with_blur_and_not_with_pixels():
    half = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8), (0, 0), 1)
    crop = cv2.resize(half, (224, 224), interpolation=cv2.INTER_NEAREST)

    assert sharpness(cv2.GaussianBlur(half, (0, 0), 3)) < 0.3 * sharpness(half)
    assert sharpness(crop) == pytest.approx(sharpness(half), rel=0.05)
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_sharpness_is_the_variance_of_the_laplacian():
    dot = np.zeros((112, 112, 3), np.uint8)
    dot[50, 50] = 100

    values = np.zeros(112 * 112)
    values[:5] = [-400, 100, 100, 100, 100]  # the kernel of OpenCV's aperture 1, times the dot
    assert sharpness(dot) == pytest.approx(values.var())


def test_a_limit_leaves_out_what_is_below_it_or_unknown():
    rule, is_out = QualityLimits(min_score=0.9).judge("score", np.array([0.95, 0.9, 0.89, np.nan]))

    assert rule == "score below 0.9"
    assert is_out.tolist() == [False, False, True, True]
    assert QualityLimits(min_score=0.9).judge("size", np.array([1.0])) is None


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="min_sharpness must be a finite number, got nan"):
        QualityLimits(min_sharpness=float("nan"))
