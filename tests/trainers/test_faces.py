import hashlib
import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from framehook import RunError, SourceNotFoundError, UsageError
from framehook_plugins.agegender.crop import cut, squares
from framehook_trainers.datasets.cutting import Cuts, cut_faces
from framehook_trainers.datasets.detection import Chosen, decode
from framehook_trainers.datasets.faces import FORMAT, CropGeometry, read_faces, usual_context
from framehook_trainers.datasets.quality import sharpness
from framehook_trainers.datasets.shards import Row, SplitWriter
from framehook_trainers.datasets.storage import FileReader

BOXES = np.array([[30, 10, 150, 160], [-20, -30, 130, 110], [60.5, 40.2, 190.1, 195.7]], np.float32)
LANDMARKS = np.array(
    [[[70, 70], [120, 75], [95, 100], [72, 125], [112, 130]], [[40, 45]] * 5, [[np.nan, np.nan]] * 5], np.float32
)
LANDMARKS[1] += LANDMARKS[0] / 2
FACES = Chosen(BOXES, LANDMARKS, np.ones(3, np.float32), np.array([True, True, False]))


def cuts(reads, geometry):
    digests = [hashlib.sha256(read()).digest() for read in reads]
    return Cuts(reads=reads, faces=FACES, geometry=geometry, names=["a", "b", "c"], digests=digests)


@pytest.mark.parametrize("border", ["edge", "white"])
@pytest.mark.parametrize("size", [64, 112, 150, 180, 198, 224])
def test_the_middle_of_a_stored_crop_is_what_inference_cuts(tmp_path, picture, size, border):
    geometry = CropGeometry(size=size, stored_size=size + usual_context(size), border=border)
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(picture(i, 200, ".png"))
    reads = [FileReader(str(tmp_path / f"{i}.png")) for i in range(3)]

    arrays = cut_faces(cuts(reads, geometry))

    for i, read in enumerate(reads):
        square = squares(BOXES[i : i + 1], LANDMARKS[i : i + 1], margin=geometry.margin, shift=geometry.shift)
        inference = cut(decode(read()), square, size, border=border)[0]
        middle = arrays["crops"][i][geometry.middle, geometry.middle]
        difference = np.abs(middle.astype(int) - inference)
        assert difference.mean() < 1
        assert np.percentile(difference, 99) <= 6  # of a pattern whose neighbouring pixels differ by up to 60
        assert arrays["sharpness"][i] == sharpness(middle)


@pytest.mark.parametrize("now", [b"no picture", "another"], ids=["no picture", "another picture"])
def test_a_picture_that_changed_since_its_face_was_looked_for_is_told(tmp_path, picture, now):
    path = tmp_path / "b.png"
    path.write_bytes(picture(0, 200, ".png"))
    wanted = cuts([FileReader(str(path))] * 3, CropGeometry())
    path.write_bytes(picture(1, 200, ".png") if now == "another" else now)

    with pytest.raises(RunError, match="'a' changed since its face was looked for: begin anew"):
        cut_faces(wanted)


@pytest.mark.parametrize(
    "wrong", [{"stored_size": 111}, {"stored_size": 113}, {"margin": -1}], ids=["smaller", "an odd context", "no crop"]
)
def test_a_geometry_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match="a crop needs a margin above -1 and an even number of pixels as context"):
        CropGeometry(**wrong)


@pytest.mark.parametrize("wrong", [{"margin": float("nan")}, {"margin": float("inf")}, {"shift": float("nan")}])
def test_a_geometry_of_no_numbers_is_refused(wrong):
    with pytest.raises(UsageError, match="a crop's margin and shift must be finite numbers, got"):
        CropGeometry(**wrong)


def row(i, **changes):
    labels = {"dataset": "set", "name": f"{i}.png", "age_low": i % 100, "age_high": i % 100, "female": i % 2, "race": ""}
    box = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    measured = {"group": i, "digest": f"{i:016}", "found": 1, "score": "0.9", "sharpness": "80.0"}
    return Row(**{**labels, **measured, **box, **changes})


def crops_of(n, side):
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), np.uint8)


def write_folder(folder, *, side=4, **rows):
    """Prepared faces with these rows in each split, their crops drawn by lot."""
    geometry = CropGeometry(size=side, stored_size=side)
    facts = {"format": FORMAT, "settings": {"geometry": asdict(geometry)}, "counts": {}}
    (folder / "faces.json").write_text(json.dumps(facts))
    for split in ("train", "validation", "test"):
        table = rows.get(split, [])
        SplitWriter(folder / split, table, side=side).append(crops_of(len(table), side))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path, train=[row(i) for i in range(3)], test=[row(3)])


def test_labels_are_read_back(tmp_path):
    unknown = row(1, age_low=-1, age_high=-1, female=-1)
    write_folder(
        tmp_path,
        train=[row(0, race="Black, or so"), unknown, row(2, dataset="other", name="\udcff.png", age_low=20, age_high=29)],
    )

    faces = read_faces(tmp_path, split="train")

    assert len(faces) == 3
    assert faces.names.tolist() == ["0.png", "1.png", "\udcff.png"]
    assert faces.ages.tolist() == [[0, 0], [-1, -1], [20, 29]]
    assert faces.female.tolist() == [0, -1, 0]
    assert faces.races.tolist() == ["Black, or so", "", ""]
    assert faces.rows(dataset="set").tolist() == [0, 1]
    assert faces.rows(dataset="other").tolist() == [2]


def test_an_empty_split_has_no_faces(folder):
    faces = read_faces(folder, split="validation")

    assert len(faces) == 0
    assert faces.crops(np.arange(0)).shape == (0, 4, 4, 3)
    assert faces.ages.shape == (0, 2)


def test_faces_are_stored_5000_to_a_file_and_read_from_any(tmp_path):
    n = 10_001
    crops = crops_of(n, 4)
    write_folder(tmp_path)
    (tmp_path / "train" / "labels.csv").unlink()
    (tmp_path / "train").rmdir()
    writer = SplitWriter(tmp_path / "train", [row(i) for i in range(n)], side=4)
    for start in range(0, n, 700):
        writer.append(crops[start : start + 700])

    faces = read_faces(tmp_path, split="train")

    assert [len(shard) for shard in faces.shards] == [5000, 5000, 1]
    assert sorted(path.name for path in (tmp_path / "train").glob("*.npy")) == [f"faces-0000{i}.npy" for i in range(3)]
    np.testing.assert_array_equal(faces.crops(np.arange(n)), crops)
    rows = np.array([10_000, 3, 4999, 5000, 3])
    np.testing.assert_array_equal(faces.crops(rows), crops[rows])
    np.testing.assert_array_equal(np.load(tmp_path / "train" / "faces-00001.npy"), crops[5000:10_000])


def test_centres_are_the_middles_of_the_crops(tmp_path):
    write_folder(tmp_path, train=[row(0), row(1)], side=6)
    facts = json.loads((tmp_path / "faces.json").read_text())
    facts["settings"]["geometry"]["size"] = 2
    (tmp_path / "faces.json").write_text(json.dumps(facts))

    faces = read_faces(tmp_path, split="train")

    np.testing.assert_array_equal(faces.centres(np.array([1])), faces.crops(np.array([1]))[:, 2:4, 2:4])


@pytest.mark.parametrize("name", ["faces.json", "train/labels.csv", "test/labels.csv"])
def test_a_missing_file_is_told_with_the_command_that_makes_it(folder, name):
    (folder / name).unlink()

    with pytest.raises(SourceNotFoundError, match=rf"{name}'; make it with: framehook prepare"):
        read_faces(folder, split="train")


def test_files_that_do_not_belong_together_are_refused(folder):
    table = (folder / "train" / "labels.csv").read_text().splitlines()
    (folder / "train" / "labels.csv").write_text("\n".join(table[:-1]) + "\n")

    with pytest.raises(UsageError, match="train' has 3 crops and 2 labels: prepare the faces again"):
        read_faces(folder, split="train")


@pytest.mark.parametrize("left", [-1, 0], ids=["by a byte", "to nothing"])
def test_a_file_that_was_cut_short_is_refused(folder, left):
    path = folder / "train" / "faces-00000.npy"
    path.write_bytes(path.read_bytes()[:left])

    with pytest.raises(UsageError, match=r"faces-00000\.npy' is damaged"):
        read_faces(folder, split="train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"faces\.json' is damaged \(JSONDecodeError: .*: prepare the faces again"),
        (b"[]", r"faces\.json' is damaged"),
        (b'{"format": "framehook-faces-1"}', r"faces\.json' is damaged \(KeyError: 'settings'\)"),
        (
            b'{"format": "framehook-faces-1", "settings": {"geometry": {"side": 4}}, "counts": {}}',
            r"damaged \(TypeError: .*'side'",
        ),
    ],
    ids=["no JSON", "a list", "without settings", "another geometry"],
)
def test_facts_that_are_damaged_are_refused(folder, content, message):
    (folder / "faces.json").write_bytes(content)

    with pytest.raises(UsageError, match=message):
        read_faces(folder, split="train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("set,1.png,1,1,1", "set,1.png,one,1,1", r"labels\.csv' is damaged \(ValueError: .*'one'"),
        ("set,1.png,.*", "set,1.png", r"labels\.csv' is damaged \(TypeError: "),
        ("age_high", "age_most", r"labels\.csv' is damaged \(KeyError: 'age_high'\)"),
        ("digest", "sha", r"labels\.csv' has no column 'digest': prepare the faces again"),
    ],
    ids=["no number", "a short line", "a column", "another column"],
)
def test_labels_that_are_damaged_are_refused(folder, old, new, message):
    path = folder / "train" / "labels.csv"
    path.write_text(re.sub(old, new, path.read_text(), count=1))

    with pytest.raises(UsageError, match=message):
        read_faces(folder, split="train")


def test_crops_of_another_size_are_refused(folder):
    np.save(folder / "train" / "faces-00000.npy", crops_of(3, 5))

    with pytest.raises(
        UsageError, match=r"faces-00000\.npy' is damaged .*it holds \(3, 5, 5, 3\) uint8, wanted \(n, 4, 4, 3\) uint8"
    ):
        read_faces(folder, split="train")


def test_faces_of_another_kind_are_refused(folder):
    (folder / "faces.json").write_text('{"format": "framehook-faces-9"}')

    with pytest.raises(UsageError, match="has the format 'framehook-faces-9', want 'framehook-faces-1'"):
        read_faces(folder, split="train")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("changes", "what"),
    [({"group": 0}, "content group 0"), ({"digest": f"{0:016}"}, "the file with SHA-256 0000000000000000")],
    ids=["content", "file"],
)
def test_splits_that_leak_are_refused_whichever_is_opened(tmp_path, split, changes, what):
    write_folder(tmp_path, train=[row(0), row(1)], test=[row(2, **changes)])

    with pytest.raises(UsageError, match=f"{what} lies in 'train' and in 'test': the splits leak"):
        read_faces(tmp_path, split=split)
