import cv2
import numpy as np
import pytest

from framehook_trainers.datasets.content import difference_hash, group_by_content


def photograph(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC)


def recompressed(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def brighter(image):
    return cv2.convertScaleAbs(image, alpha=0.8, beta=40)


def smaller(image):
    return cv2.resize(image, (70, 70), interpolation=cv2.INTER_AREA)


def hashes(*images):
    return np.stack([difference_hash(image) for image in images])


@pytest.mark.parametrize("change", [recompressed, brighter, smaller])
def test_a_changed_copy_belongs_to_its_original(change):
    first, second = photograph(0), photograph(1)

    groups = group_by_content(hashes(first, second, change(first)))

    assert groups.tolist() == [0, 1, 0]


def test_groups_join_over_copies_of_copies():
    bits = np.zeros((3, 256), bool)
    bits[1, :20] = True
    bits[2, :40] = True

    assert len(set(group_by_content(bits).tolist())) == 1
    assert len(set(group_by_content(bits[[0, 2]]).tolist())) == 2


@pytest.mark.parametrize("shape", ["spread", "in one piece"])
@pytest.mark.parametrize(("differ", "groups"), [(24, 1), (25, 2)], ids=["24 bits", "25 bits"])
def test_hashes_that_differ_in_at_most_24_bits_are_the_same_wherever_they_differ(shape, differ, groups):
    random = np.random.default_rng(0)
    for _ in range(50):
        bits = np.repeat(random.random((1, 256)) < 0.5, 2, axis=0)
        start = int(random.integers(0, 256 - differ))
        places = random.permutation(256)[:differ] if shape == "spread" else np.arange(start, start + differ)
        bits[1, places] ^= True
        assert len(set(group_by_content(bits).tolist())) == groups


def test_groups_are_those_of_comparing_every_pair():
    random = np.random.default_rng(1)
    originals = random.random((150, 256)) < 0.5
    copies = originals[random.integers(0, 150, 450)] ^ (random.random((450, 256)) < random.uniform(0, 0.12, (450, 1)))
    bits = random.permutation(np.concatenate([originals, copies]))

    found = group_by_content(bits)

    near = (bits[:, None] ^ bits[None]).sum(axis=2) <= 24
    expected = np.arange(len(bits))
    for _ in range(20):  # the smallest number in reach, further each time
        expected = np.where(near, expected[None], len(bits)).min(axis=1)
    assert [np.flatnonzero(expected == expected[i])[0] for i in range(len(bits))] == [
        np.flatnonzero(found == found[i])[0] for i in range(len(bits))
    ]
    assert 150 < len(set(found.tolist())) < 500


def test_a_file_that_was_cut_in_two_ways_is_one_content():
    bits = np.random.default_rng(0).random((3, 256)) < 0.5

    assert group_by_content(bits, ["x", "y", "x"]).tolist() == [0, 1, 0]


def test_thousands_of_equal_pictures_are_one_group():
    assert set(group_by_content(np.zeros((20_000, 256), bool)).tolist()) == {0}


def test_no_pictures_have_no_groups():
    assert group_by_content(np.empty((0, 256), bool)).shape == (0,)
