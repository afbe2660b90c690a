import cv2
import numpy as np
import pytest

from framehook_trainers.datasets.splits import assign, check_no_leak, difference_hash, group_by_content


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

    assert groups[0] == groups[2] != groups[1]


def test_groups_join_over_copies_of_copies():
    bits = np.zeros((3, 256), bool)
    bits[1, :20] = True
    bits[2, :40] = True

    assert len(set(group_by_content(bits).tolist())) == 1
    assert len(set(group_by_content(bits[[0, 2]]).tolist())) == 2


def test_a_tenth_is_for_testing_and_a_twentieth_for_validation():
    bits = np.random.default_rng(0).random((4000, 256)) < 0.5

    splits = assign(np.arange(4000), bits, published=[""] * 4000)

    assert splits.count("test") == pytest.approx(400, abs=60)
    assert splits.count("validation") == pytest.approx(200, abs=45)


def test_a_picture_keeps_its_side_when_others_come():
    bits = np.random.default_rng(0).random((300, 256)) < 0.5

    alone = assign(np.arange(100), bits[:100], published=[""] * 100)
    among_others = assign(np.arange(300)[::-1], bits, published=[""] * 300)

    assert alone == among_others[:100]


@pytest.mark.parametrize(
    ("published", "split"),
    [(["train", "train"], "train"), (["test", "test"], "test"), (["train", "test"], "test"), (["", "test"], "test")],
    ids=["train", "test", "a train picture that is also in test", "another set's picture that is also in test"],
)
def test_the_publishers_split_is_kept_unless_it_leaks(published, split):
    bits = np.random.default_rng(0).random((2, 256)) < 0.5

    assert assign(np.array([7, 7]), bits, published=published) == [split, split]


def test_all_pictures_of_a_group_go_to_one_side():
    images = [photograph(i) for i in range(60)]
    bits = hashes(*images, *map(recompressed, images))
    groups = group_by_content(bits)

    splits = assign(groups, bits, published=[""] * 120)

    check_no_leak(groups, splits)
    assert splits[:60] == splits[60:]
    assert len(set(splits)) == 3


def test_a_leak_is_told():
    with pytest.raises(ValueError, match="content group 1 lies in 'test' and in 'train'"):
        check_no_leak([0, 1, 1], ["train", "test", "train"])
