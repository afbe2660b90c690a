from collections import Counter

import pytest

from framehook import SourceNotFoundError, UsageError
from framehook_trainers.datasets.formats import FORMATS, Source, read_samples
from framehook_trainers.datasets.utkface import RACES


def test_utkface_labels_come_from_the_names(tiny_data):
    reading = read_samples("utkface", str(tiny_data))

    assert len(reading.samples) == 80
    assert not reading.counts
    first, second = reading.samples[:2]
    assert (first.age_low, first.age_high, first.female, first.race) == (1, 1, False, "White")
    assert (second.age_low, second.female) == (2, True)
    assert len(RACES) == 5


def test_a_folder_of_files_one_tar_and_a_folder_of_tars_are_the_same_set(tmp_path, chips, write_tar):
    files = {path.name: path.read_bytes() for path in sorted(chips.iterdir())}
    half = len(files) // 2
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "all.tar", files)
    write_tar(tmp_path / "shards" / "utkface-00.tar", dict(list(files.items())[:half]))
    write_tar(tmp_path / "shards" / "utkface-01.tar", dict(list(files.items())[half:]))

    readings = [read_samples("utkface", str(place)) for place in (chips, tmp_path / "all.tar", tmp_path / "shards")]

    for reading in readings:
        assert {sample.name: sample.read() for sample in reading.samples} == files
        assert [sample.label for sample in reading.samples] == [sample.label for sample in readings[0].samples]


def test_shards_of_another_set_in_the_same_folder_are_passed_over(tiny_data):
    assert {sample.name.partition("/")[0] for sample in read_samples("fairface", str(tiny_data)).samples} == {"train", "val"}


@pytest.mark.parametrize(
    "name",
    ["61_1_20170109142408075.jpg.chip.jpg", "24_0_1_20170116220224657 .jpg.chip.jpg", "39_3_1_2017.jpg.chip.jpg", "readme.txt"],
    ids=["race missing", "a space", "an unknown gender", "another file"],
)
def test_a_malformed_name_is_left_out_and_counted(tmp_path, name, write_tar):
    write_tar(tmp_path / "utkface-00.tar", {name: b"1", "20_1_2_20170101.jpg.chip.jpg": b"2"})

    reading = read_samples("utkface", str(tmp_path))

    assert [(s.age_low, s.female) for s in reading.samples] == [(20, True)]
    assert reading.counts == {"malformed name": 1}
    assert reading.drops.firsts == {"malformed name": name}


def test_fairface_labels_are_brackets_and_its_own_split_is_told(tiny_data):
    samples = read_samples("fairface", str(tiny_data)).samples

    assert {(s.age_low, s.age_high) for s in samples} == {(0, 2), (20, 29), (70, 100)}
    assert Counter(s.published_split for s in samples) == {"train": 30, "test": 10}
    assert [s.female for s in samples[:2]] == [True, False]
    assert samples[0].race == "White"


def test_one_part_of_fairface_can_be_read_alone(tiny_data):
    samples = read_samples("fairface", str(tiny_data / "fairface_label_val.csv")).samples

    assert {s.published_split for s in samples} == {"test"}


def test_fairface_rows_and_pictures_that_do_not_match_are_counted_with_their_place(tmp_path, picture):
    rows = ["file,age,gender", "train/1.jpg,20-29,Male", "train/2.jpg,21,Male", "train/3.jpg,0-2,Female"]
    (tmp_path / "fairface_label_train.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "train").mkdir()
    for i in (1, 2, 4):
        (tmp_path / "train" / f"{i}.jpg").write_bytes(picture(i, 20, ".jpg"))

    reading = read_samples("fairface", str(tmp_path))

    assert [sample.name for sample in reading.samples] == ["train/1.jpg"]
    assert reading.counts == {"malformed row": 1, "without a label": 1, "missing picture": 1}
    assert reading.drops.firsts["malformed row"].startswith("fairface_label_train.csv, line 3: age '21' is none of 0-2, 3-9")
    assert reading.drops.firsts["missing picture"] == "fairface_label_train.csv, line 4: train/3.jpg"
    assert reading.drops.firsts["without a label"] == "train/4.jpg"


def test_rows_of_fairface_that_name_the_same_file_are_counted(tmp_path, picture):
    rows = ["file,age,gender", "train/1.jpg,20-29,Male", "train/1.jpg,20-29,male", "train/2.jpg,0-2,Male", "train/2.jpg,3-9,Male"]
    (tmp_path / "fairface_label_train.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "train").mkdir()
    for i in (1, 2):
        (tmp_path / "train" / f"{i}.jpg").write_bytes(picture(i, 20, ".jpg"))

    reading = read_samples("fairface", str(tmp_path))

    assert [sample.name for sample in reading.samples] == ["train/1.jpg"]
    assert reading.counts == {"repeated row": 1, "rows with different labels for one file": 2}
    assert reading.drops.firsts["repeated row"] == "fairface_label_train.csv, line 3: train/1.jpg"
    assert reading.drops.firsts["rows with different labels for one file"] == "fairface_label_train.csv, line 4: train/2.jpg"


def test_a_missing_column_of_fairface_is_told(tmp_path):
    (tmp_path / "fairface_label_val.csv").write_text("file,age,sex\n")

    with pytest.raises(UsageError, match=r"fairface_label_val\.csv' lacks the column 'gender' \(it has: file, age, sex\)"):
        read_samples("fairface", str(tmp_path))


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_folder_without_the_set_is_told(tmp_path, data_format):
    with pytest.raises(SourceNotFoundError, match=tmp_path.name):
        read_samples(data_format, str(tmp_path / "nothing.csv") if data_format == "table" else str(tmp_path))


def test_a_mistyped_format_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"no format is named 'utkfase' in 'utkfase:x'; did you mean 'utkface'\?"):
        Source.parse("utkfase:x")


def test_a_format_without_a_location_is_told():
    with pytest.raises(UsageError, match="'fairface' has no location: write fairface:FOLDER"):
        Source.parse("fairface")


def test_a_location_may_be_a_url():
    assert Source.parse("fairface:s3://bucket/fairface") == ("fairface", "s3://bucket/fairface")


def test_the_real_sets_are_read_without_reading_a_picture(shared_data):
    utkface, fairface = (read_samples(name, str(shared_data)) for name in ("utkface", "fairface"))

    assert len(utkface.samples) + utkface.counts["malformed name"] == 21_424
    assert utkface.counts["malformed name"] == 5
    assert len(fairface.samples) == 39_954 + 2_498
    assert not fairface.counts
    assert utkface.samples[0].read()[:2] == b"\xff\xd8"
