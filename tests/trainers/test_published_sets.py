from collections import Counter

import pytest

from framehook import SourceNotFoundError
from framehook_trainers.datasets import fairface, utkface
from framehook_trainers.datasets.samples import Sample, without_repeats


def sample(data, *, age=30, female=True):
    return Sample(dataset="any", name="any", data=data, age_low=age, age_high=age, female=female)


def test_utkface_labels_come_from_the_names(tiny_data):
    samples, counts = utkface.read(tiny_data)

    assert counts == {"read": 80, "kept": 80, "repeated": 0}
    assert {(s.age_low, s.age_high, s.female) for s in samples[:2]} == {(1, 1, False), (2, 2, True)}


def test_the_real_utkface_is_cleaned(shared_data):
    samples, counts = utkface.read(shared_data)

    assert counts["kept"] == len(samples)
    assert counts["read"] == counts["kept"] + counts["malformed name"] + counts["repeated"] + counts["contradictory"]
    assert len({s.data for s in samples}) == len(samples)


@pytest.mark.parametrize(
    "name",
    ["61_1_20170109142408075.jpg.chip.jpg", "24_0_1_20170116220224657 .jpg.chip.jpg", "39_3_1_2017.jpg.chip.jpg", "readme.txt"],
    ids=["race missing", "a space", "an unknown gender", "another file"],
)
def test_a_malformed_name_is_left_out_and_counted(tmp_path, name, write_tar):
    write_tar(tmp_path / "utkface-00.tar", {name: b"1", "20_1_2_20170101.jpg.chip.jpg": b"2"})

    samples, counts = utkface.read(tmp_path)

    assert [(s.age_low, s.female) for s in samples] == [(20, True)]
    assert counts["malformed name"] == 1


def test_fairface_labels_are_brackets_and_its_own_split_is_kept(tiny_data):
    samples, counts = fairface.read(tiny_data)

    assert counts["kept"] == 40
    assert {(s.age_low, s.age_high) for s in samples} == {(0, 2), (20, 29), (70, 100)}
    assert Counter(s.published_split for s in samples) == {"train": 30, "test": 10}
    assert samples[0].female
    assert not samples[1].female


def test_repeats_are_kept_once_and_contradictions_not_at_all():
    counts = Counter()

    kept = without_repeats(
        [sample(b"a"), sample(b"a"), sample(b"b"), sample(b"b", female=False), sample(b"c"), sample(b"c", age=31)], counts
    )

    assert [s.data for s in kept] == [b"a"]
    assert counts == {"repeated": 1, "contradictory": 4}


@pytest.mark.parametrize("dataset", [utkface, fairface], ids=["utkface", "fairface"])
def test_a_folder_without_the_set_is_told(tmp_path, dataset):
    with pytest.raises(SourceNotFoundError, match=dataset.NAME):
        dataset.read(tmp_path)
