import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from framehook import ModelError, SourceError, SourceNotFoundError, UsageError
from framehook_trainers.datasets.formats import read_samples
from framehook_trainers.evaluate import evaluate, evenly, labels_of, only_those_of, read_selected


class Reader:
    """A classifier that reads the labels off flat pictures: as old as they are green, female where they are red."""

    columns = ()

    def __init__(self):
        self.seen = []

    def classify(self, frames, detections):
        self.seen.append(detections)
        colours = [frame.image.reshape(-1, 3).mean(axis=0) for frame in frames]
        return [
            found.with_attributes(age=[green], age_std=[2.0], gender=["female" if red > 100 else "male"], gender_score=[0.9])
            for found, (red, green, _) in zip(detections, colours, strict=True)
        ]


def write_picture(path, *, age, female):
    colour = np.array([60, age, 200 if female else 0], np.uint8)  # blue, green, red
    cv2.imwrite(str(path), np.broadcast_to(colour, (64, 64, 3)))


@pytest.fixture
def folder(tmp_path):
    """Ten pictures in UTKFace's format, whose colours say their labels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(10):
        write_picture(folder / f"{20 + 5 * i}_{i % 2}_{i % 5}_2017{i:04}.jpg", age=20 + 5 * i, female=i % 2)
    return folder


def samples_of(folder):
    return read_samples("utkface", str(folder)).samples


def test_each_answer_is_measured_by_its_own_label_however_the_pictures_are_batched(folder):
    classifier = Reader()

    report = evaluate(samples_of(folder), classifier=classifier, batch=4).report()

    assert (report["images"], report["gender"]["accuracy"], report["age"]["within_5"]) == (10, 1, 1)
    assert report["age"]["mae"] < 3  # JPEG moves the colours a little
    assert [len(part) for part in classifier.seen] == [4, 4, 2]
    assert report["groups"]["race"].keys() == {"White", "Black", "Asian", "Indian", "Others"}
    assert report["faces"] == {"none": 10, "one": 0, "several": 0}


def test_a_corrupt_picture_is_named_and_the_others_are_measured(folder):
    (folder / "30_0_0_20170101.jpg").write_bytes(b"no picture")
    (folder / "31_0_0_20170102.jpg").touch()

    report = evaluate(samples_of(folder), classifier=Reader()).report()

    assert report["corrupt"] == {"count": 2, "names": ["30_0_0_20170101.jpg", "31_0_0_20170102.jpg"]}
    assert (report["images"], report["gender"]["accuracy"]) == (10, 1)


def test_a_missing_picture_is_named(folder):
    (folder / "labels.csv").write_text("path,age,gender\n20_0_0_20170000.jpg,20,male\nnowhere.jpg,30,female\n")

    report = evaluate(read_samples("table", str(folder / "labels.csv")).samples, classifier=Reader()).report()

    assert report["missing"] == {"count": 1, "names": ["nowhere.jpg"]}
    assert report["images"] == 1


def test_nothing_but_corrupt_pictures_is_an_error(tmp_path):
    (tmp_path / "30_0_0_20170101.jpg").write_bytes(b"no picture")

    with pytest.raises(SourceError, match=r"none of 1 pictures can be read, such as '30_0_0_20170101.jpg': corrupt picture"):
        evaluate(samples_of(tmp_path), classifier=Reader())


@pytest.fixture
def portrait(tmp_path):
    """A table with a portrait, in which there is one face, and a grey picture."""
    shutil.copy(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg", tmp_path / "hopper.jpg")
    write_picture(tmp_path / "grey.jpg", age=60, female=True)
    (tmp_path / "labels.csv").write_text("path,age,gender\nhopper.jpg,75,female\ngrey.jpg,60,female\n")
    return read_samples("table", str(tmp_path / "labels.csv")).samples


@pytest.mark.parametrize(("which", "images"), [("all", 2), ("found", 1), ("one", 1)])
def test_the_pictures_that_count_can_be_those_with_a_face(portrait, which, images):
    assert len(evaluate(portrait, classifier=Reader(), which=which).answers) == images


def test_the_classifier_sees_the_face_that_mtcnn_finds_with_its_landmarks(portrait):
    classifier = Reader()

    evaluation = evaluate(portrait, classifier=classifier)

    [[face, usual]] = classifier.seen
    x1, y1, x2, y2 = face.boxes[0]
    assert 150 < x1 < x2 < 400
    assert 50 < y1 < y2 < 350
    assert np.isfinite(face.attributes["landmarks"]).all()
    assert np.isnan(usual.attributes["landmarks"]).all(), "where no face is found, the set's usual box stands for it"
    crop = evaluation.crops_of(np.array([0]))[0]
    assert crop.shape == (112, 112, 3)
    assert crop.std() > 30, "a face, no flat colour"


def test_no_picture_that_counts_is_an_error(folder):
    with pytest.raises(UsageError, match="none of 10 pictures has the faces that 'one' asks for"):
        evaluate(samples_of(folder), classifier=Reader(), which="one")


def test_an_answer_that_is_no_number_tells_of_a_diverged_network(folder):
    class Diverged(Reader):
        def classify(self, frames, detections):
            return [found.with_attributes(age=[np.nan]) for found in super().classify(frames, detections)]

    with pytest.raises(ModelError, match="age of image 0 is no finite number: its training diverged"):
        evaluate(samples_of(folder), classifier=Diverged())


def test_progress_tells_of_both_stages(folder):
    told = []

    evaluate(samples_of(folder), classifier=Reader(), progress=lambda *much: told.append(much))

    assert told == [("finding faces", 10, 10), ("classifying", 10, 10)]


def write_split(folder, rows, columns="dataset,name"):
    folder.mkdir()
    (folder / "labels.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder


def test_only_the_pictures_of_a_prepared_split_are_kept(folder, tmp_path):
    names = ["25_1_1_20170001.jpg", "40_0_4_20170004.jpg"]
    split = write_split(tmp_path / "test", [f"utkface,{name}" for name in names] + ["fairface,val/1.jpg"])

    assert [sample.name for sample in only_those_of(samples_of(folder), split)] == names


def test_a_picture_that_the_data_names_twice_counts_once(folder, tmp_path):
    samples = samples_of(folder)
    split = write_split(tmp_path / "test", [f"utkface,{samples[0].name}"])

    assert only_those_of([samples[0], *samples], split) == [samples[0]]


def test_where_two_sources_share_a_name_the_bytes_tell_whose_picture_is_meant(folder, tmp_path):
    samples = samples_of(folder)
    first = samples[0]
    other = replace(first, read=lambda: b"another one of that name")
    digest = hashlib.sha256(first.read()).hexdigest()[:16]
    split = write_split(tmp_path / "test", [f"utkface,{first.name},{digest}"], "dataset,name,digest")
    write_split(tmp_path / "train", [f"utkface,{first.name},0123456789abcdef"], "dataset,name,digest")

    assert only_those_of([other, first, *samples[1:]], split) == [first]
    (tmp_path / "train" / "labels.csv").write_text("dataset,name,digest\n")  # the other one was left out in preparing
    assert only_those_of([other, first, *samples[1:]], split) == [first]


@pytest.mark.parametrize(
    ("rows", "columns", "error", "message"),
    [
        (["utkface,gone.jpg", "utkface,25_1_1_20170001.jpg"], "dataset,name", UsageError, r"names 'gone.jpg' and 0 more that"),
        (["fairface,val/1.jpg"], "dataset,name", UsageError, "names no picture of utkface: give the data that"),
        (["25_1_1_20170001.jpg"], "name", UsageError, "has no column 'dataset', got name: prepare the faces again"),
    ],
    ids=["a picture is gone", "another set", "another table"],
)
def test_a_split_that_does_not_fit_the_data_is_told(folder, tmp_path, rows, columns, error, message):
    with pytest.raises(error, match=message):
        only_those_of(samples_of(folder), write_split(tmp_path / "test", rows, columns))


def test_a_folder_that_is_no_split_is_told(folder):
    with pytest.raises(SourceNotFoundError, match=r"labels.csv': name a split that 'framehook prepare' wrote"):
        only_those_of(samples_of(folder), folder)


def test_a_limit_takes_pictures_from_all_of_the_data():
    assert evenly(range(100), 4) == [0, 25, 50, 75]
    assert evenly(range(3), 4) == [0, 1, 2]


def test_folders_and_tar_shards_are_read_alike(folder, tmp_path, write_tar):
    write_tar(tmp_path / "utkface-00.tar", {path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    settings = {"data_format": "utkface", "only": None, "limit": 5}

    from_folder, from_tar = (read_selected(str(place), **settings).samples for place in (folder, tmp_path / "utkface-00.tar"))

    assert from_folder == from_tar
    assert [sample.age_low for sample in from_tar] == [20, 30, 40, 50, 60]


def test_data_without_a_labelled_picture_is_told_with_the_reason(tmp_path):
    (tmp_path / "someone.jpg").touch()

    with pytest.raises(UsageError, match=r"no labelled picture in the format 'utkface' \(malformed name: 1\)"):
        read_selected(str(tmp_path), data_format="utkface", only=None, limit=None)


def test_ages_that_are_no_ages_are_left_out_and_counted(folder):
    for name in ("121_0_0_20180000.jpg", "999_1_0_20180001.jpg"):
        write_picture(folder / name, age=99, female=False)

    reading = read_selected(str(folder), data_format="utkface", only=None, limit=None)

    assert max(sample.age_low for sample in reading.samples) == 65
    assert reading.counts == {"age out of range": 2}
    assert reading.drops.firsts == {"age out of range": "121_0_0_20180000.jpg"}


def test_data_with_impossible_ages_alone_is_told(tmp_path):
    write_picture(tmp_path / "150_0_0_20180000.jpg", age=99, female=False)

    with pytest.raises(UsageError, match=r"no labelled picture in the format 'utkface' \(age out of range: 1\)"):
        read_selected(str(tmp_path), data_format="utkface", only=None, limit=None)


def test_unknown_labels_stay_unknown(tmp_path):
    (tmp_path / "labels.csv").write_text("path,age_low,age_high,gender\na.jpg,20,29,\nb.jpg,,,f\n")

    labels = labels_of(read_samples("table", str(tmp_path / "labels.csv")).samples)

    assert labels.ages.tolist() == [[20, 29], [-1, -1]]
    assert labels.female.tolist() == [-1, 1]
