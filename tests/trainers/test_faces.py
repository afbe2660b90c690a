import cv2
import numpy as np
import pytest

from framehook import SourceNotFoundError, UsageError
from framehook_plugins.agegender.crop import cut, squares
from framehook_trainers.datasets import utkface
from framehook_trainers.datasets.augment import augment
from framehook_trainers.datasets.boxes import Chosen, Found, choose_faces, decode, detect_faces
from framehook_trainers.datasets.faces import CropGeometry, read_faces, write_faces
from framehook_trainers.datasets.samples import Sample

BOXES = np.array([[30, 10, 150, 160], [-20, -30, 130, 110], [60.5, 40.2, 190.1, 195.7]], np.float32)
LANDMARKS = np.array(
    [[[70, 70], [120, 75], [95, 100], [72, 125], [112, 130]], [[40, 45]] * 5, [[np.nan, np.nan]] * 5], np.float32
)
LANDMARKS[1] += LANDMARKS[0] / 2
FACES = Chosen(BOXES, LANDMARKS, np.array([True, True, False]))


@pytest.fixture
def samples():
    def picture(seed):
        coarse = np.random.default_rng(seed).integers(0, 256, (25, 25, 3), np.uint8)
        return cv2.imencode(".png", cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_CUBIC))[1].tobytes()

    return [
        Sample(dataset="set", name=f"{i}.png", data=picture(i), age_low=10 * i, age_high=10 * i + i, female=i == 1)
        for i in range(3)
    ]


@pytest.fixture
def folder(tmp_path, samples):
    write_faces(tmp_path, samples, FACES, geometry=CropGeometry(), facts={})
    return tmp_path


def test_the_middle_of_a_stored_crop_is_what_inference_cuts(folder, samples):
    faces = read_faces(folder)
    geometry = faces.geometry

    for i, middle in enumerate(faces.centres(np.arange(3))):
        square = squares(BOXES[i : i + 1], LANDMARKS[i : i + 1], margin=geometry.margin, shift=geometry.shift)
        inference = cut(decode(samples[i].data), square, geometry.size)[0]
        assert middle.shape == inference.shape
        difference = np.abs(middle.astype(int) - inference)
        assert difference.mean() < 1
        assert np.percentile(difference, 99) <= 6  # of a pattern whose neighbouring pixels differ by up to 60


def test_labels_are_read_back(folder):
    faces = read_faces(folder)

    assert faces.names.tolist() == ["0.png", "1.png", "2.png"]
    assert faces.ages.tolist() == [[0, 0], [10, 11], [20, 22]]
    assert faces.female.tolist() == [False, True, False]
    assert sum(len(faces.rows(dataset="set", split=split)) for split in ("train", "validation", "test")) == 3


@pytest.mark.parametrize("name", ["crops.npy", "faces.csv", "faces.json"])
def test_a_missing_file_is_told_with_the_command_that_makes_it(folder, name):
    (folder / name).unlink()

    with pytest.raises(SourceNotFoundError, match=rf"{name}'; make it with: python -m framehook_trainers\.prepare"):
        read_faces(folder)


def test_files_that_do_not_belong_together_are_refused(folder):
    table = (folder / "faces.csv").read_text().splitlines()
    (folder / "faces.csv").write_text("\n".join(table[:-1]) + "\n")

    with pytest.raises(UsageError, match="3 crops and 2 labels"):
        read_faces(folder)


def test_a_table_whose_splits_leak_is_refused(folder):
    header, row, *_ = (folder / "faces.csv").read_text().splitlines()
    columns = row.split(",")
    rows = [",".join([*columns[:2], split, "0", *columns[4:]]) for split in ("train", "test", "train")]
    (folder / "faces.csv").write_text("\n".join([header, *rows]) + "\n")

    with pytest.raises(UsageError, match="content group 0 lies in 'train' and in 'test'"):
        read_faces(folder)


def found(*boxes):
    """What MTCNN might find: boxes, each with landmarks at its first corner."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Found(boxes, boxes[:, None, :2].repeat(5, axis=1))


def test_of_several_faces_the_usual_place_wins():
    usual, other, near = [20, 20, 80, 80], [0, 0, 30, 30], [22, 21, 82, 80]

    chosen = choose_faces([(100, 100)] * 4, [found(usual), found(usual), found(other, near), found()])

    np.testing.assert_allclose(chosen.boxes, [usual, usual, near, usual], rtol=1e-6)
    assert chosen.found.tolist() == [True, True, True, False]
    assert chosen.landmarks[2, 0].tolist() == [22, 21]
    assert np.isnan(chosen.landmarks[3]).all()


def test_where_no_face_is_found_anywhere_the_whole_picture_is_taken():
    chosen = choose_faces([(50, 40)], [found()])

    assert chosen.boxes.tolist() == [[0, 0, 50, 40]]
    assert not chosen.found[0]


def test_mtcnn_finds_the_faces_of_real_chips(shared_data):
    samples = utkface.read(shared_data)[0][::1500]

    chosen = choose_faces([(200, 200)] * len(samples), detect_faces(samples, workers=1))

    assert chosen.found.mean() >= 0.9
    sides = (chosen.boxes[:, 2:] - chosen.boxes[:, :2]).max(axis=1) / 200
    assert 1.1 < np.median(sides) < 1.45


def test_a_view_is_the_same_for_the_same_seed_only(folder):
    stored = read_faces(folder).crops[0]

    first, again, other = (augment(stored, np.random.default_rng(seed), covers=112, size=112) for seed in (1, 1, 2))

    assert first.shape == (112, 112, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("size", [112, 80])
def test_views_show_the_face_where_and_as_large_as_it_is_on_average(size):
    stored = np.zeros((128, 128, 3), np.uint8)
    cv2.circle(stored, (64, 64), 20, (255, 255, 255), -1)

    views = [augment(stored, np.random.default_rng(seed), covers=112, size=size, hidden=0) for seed in range(150)]
    mean = np.mean(views, axis=(0, 3))

    rows, columns = np.indices(mean.shape)
    weight = mean - mean[0, 0]
    middle = (size - 1) / 2
    assert (rows * weight).sum() / weight.sum() == pytest.approx(middle, abs=2)
    assert (columns * weight).sum() / weight.sum() == pytest.approx(middle, abs=2)
    assert 2 * np.sqrt((weight > weight.max() / 2).sum() / np.pi) == pytest.approx(41 * size / 112, rel=0.1)
