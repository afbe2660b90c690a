from collections import Counter

import numpy as np
import pytest

from framehook import UsageError
from framehook_trainers.datasets.samples import Sample
from framehook_trainers.datasets.splits import Shares, assign, check_no_leak


def sample(age=30, *, female=True, published="", dataset="set"):
    return Sample(dataset=dataset, name="any", read=bytes, age_low=age, age_high=age, female=female, published_split=published)


def split(samples, groups=None, *, shares=None, seed=0):
    groups = np.arange(len(samples)) if groups is None else np.array(groups)
    return assign(groups, samples, shares=shares or Shares(), seed=seed)


PEOPLE = [(1, True, 200), (5, False, 60), (25, True, 1000), (25, False, 420), (80, True, 37)]


def test_every_age_class_and_gender_has_its_shares():
    samples = [sample(age, female=female) for age, female, n in PEOPLE for _ in range(n)]

    counts = Counter((s.age_low, s.female, side) for s, side in zip(samples, split(samples), strict=True))

    for age, female, n in PEOPLE:
        assert abs(counts[age, female, "test"] - n * 0.10) <= 0.5
        assert abs(counts[age, female, "validation"] - n * 0.05) <= 0.5


def test_proportions_hold_with_groups_of_several_pictures():
    samples = [sample(age, female=female) for age, female, n in PEOPLE for _ in range(n)]
    groups = np.random.default_rng(0).integers(0, 900, len(samples))  # nearly two a group, of mixed age and gender

    sides = split(samples, groups)

    check_no_leak(groups, sides, what="group")
    counts = Counter((s.age_low, s.female, side) for s, side in zip(samples, sides, strict=True))
    for age, female, n in PEOPLE:
        assert counts[age, female, "test"] == pytest.approx(n * 0.10, abs=3)
        assert counts[age, female, "validation"] == pytest.approx(n * 0.05, abs=3)


def test_the_shares_can_be_chosen():
    counts = Counter(split([sample()] * 100, shares=Shares(test=0.25, validation=0)))

    assert counts == {"train": 75, "test": 25}


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.6, 0.4), (float("nan"), 0)], ids=["negative", "all", "not a number"])
def test_shares_must_leave_some_for_training(shares):
    with pytest.raises(UsageError, match="shares must be 0 or more and leave some for training"):
        Shares(test=shares[0], validation=shares[1])


def test_the_seed_decides():
    samples = [sample() for _ in range(200)]

    assert split(samples, seed=1) == split(samples, seed=1)
    assert split(samples, seed=1) != split(samples, seed=2)


@pytest.mark.parametrize(
    ("published", "side"),
    [(["test", "test"], "test"), (["train", "test"], "test"), (["", "test"], "test")],
    ids=["test", "a train picture that is also in test", "another set's picture that is also in test"],
)
def test_the_publishers_test_pictures_are_for_testing_with_all_that_resembles_them(published, side):
    assert split([sample(published=one) for one in published], [7, 7]) == [side, side]


def test_the_publishers_train_pictures_are_never_for_testing_and_some_are_for_validation():
    samples = [sample(published="train") for _ in range(200)] + [sample(published="test") for _ in range(30)]

    counts = Counter(zip((s.published_split for s in samples), split(samples), strict=True))

    assert counts == {("train", "train"): 190, ("train", "validation"): 10, ("test", "test"): 30}


def test_a_group_that_is_larger_than_a_share_goes_to_training():
    samples = [sample() for _ in range(100)]

    sides = split(samples, [0] * 40 + list(range(1, 61)))

    assert set(sides[:40]) == {"train"}
    assert Counter(sides) == {"train": 85, "test": 10, "validation": 5}


def test_unknown_ages_and_genders_have_their_shares_too():
    samples = [Sample(dataset="set", name="", read=bytes, age_low=None, age_high=None, female=None) for _ in range(100)]

    assert Counter(split(samples)) == {"train": 85, "test": 10, "validation": 5}


def test_a_leak_is_told():
    with pytest.raises(ValueError, match="content group 1 lies in 'test' and in 'train': the splits leak"):
        check_no_leak([0, 1, 1], ["train", "test", "train"], what="content group")
