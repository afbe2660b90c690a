from math import inf, nan

import pytest

from framehook import UsageError
from framehook_trainers.datasets.policies import POLICIES, PictureFile, judge_labels, judge_pictures, rules_of
from framehook_trainers.datasets.samples import Drops, Sample


def sample(name="a", *, age=30, female=True, **facts):
    low, high = age if isinstance(age, tuple) else (age, age)
    return Sample(dataset="set", name=name, read=bytes, age_low=low, age_high=high, female=female, facts=facts)


def left_of(policy, samples):
    drops = Drops()
    kept, notes = judge_labels(rules_of([policy]), samples, drops)
    return [one.name for one in kept], {rule: count for rule, count in drops.counts.items() if count}, notes


def test_the_profiler_keeps_ages_from_1_to_100():
    ages = {"a": 0, "b": 1, "c": 100, "d": 101, "e": (0, 2), "f": (70, 100), "g": None}

    kept, counts, _ = left_of("profiler", [sample(name, age=age) for name, age in ages.items()])

    assert kept == ["b", "c", "e", "f", "g"]
    assert counts == {"age below 1": 1, "age above 100": 1}


def test_the_face_score_policy_wants_one_sure_face_with_gender_and_age():
    good = {"face_score": 1.0, "second_face_score": nan}
    samples = [
        sample("kept", **good),
        sample("no gender", **good, female=None),
        sample("low", **{**good, "face_score": 0.99}),
        sample("no face", **{**good, "face_score": -inf}),
        sample("two faces", **{**good, "second_face_score": 0.1}),
        sample("newborn", **good, age=0),
        sample("99", **good, age=99),
        sample("100", **good, age=100),
    ]

    kept, counts, notes = left_of("face-score", samples)

    assert kept == ["kept", "99"]
    assert counts == {
        "gender unknown": 1,
        "face_score below 1.0": 2,
        "second_face_score present": 1,
        "age 0 or below": 1,
        "age 100 or above": 1,
    }
    assert not notes


def test_a_rule_that_needs_what_the_set_lacks_is_told():
    kept, _, notes = left_of("face-score", [sample(female=None)])

    assert kept == ["a"]
    assert notes == [
        "the rule 'gender unknown' was not applied: the set has no gender",
        "the rule 'face_score below 1.0' was not applied: the set has no face_score",
        "the rule 'second_face_score present' was not applied: the set has no second_face_score",
    ]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("age", [-1, 121, (-1, 5), (118, 125), (0, 200)])
def test_an_age_out_of_range_is_counted_under_any_policy(policy, age):
    kept, counts, _ = left_of(policy, [sample("bad", age=age), sample("good")])

    assert kept == ["good"]
    assert sum(counts.values()) == 1


def test_a_rule_that_leaves_out_nothing_is_counted_too():
    drops = Drops()

    judge_labels(rules_of(["profiler"]), [sample()], drops)

    assert drops.counts == {"age above 100": 0, "age below 1": 0, "age out of range": 0}


def pictures(*rows):
    """Samples and files from (name, content, width, height, age)."""
    samples = [sample(name, age=age) for name, _, _, _, age in rows]
    return samples, [PictureFile(content, width, height) for _, content, width, height, _ in rows]


def test_the_profiler_drops_pictures_of_one_pixel_and_those_that_are_not_square():
    samples, files = pictures(("dot", b"a", 1, 1, 30), ("wide", b"b", 20, 10, 30), ("good", b"c", 10, 10, 30))
    drops = Drops()

    assert judge_pictures(rules_of(["profiler"]), samples, files, drops) == [False, False, True]
    assert drops.counts == {"1 x 1 picture": 1, "not square": 1}
    assert drops.firsts == {"1 x 1 picture": "dot", "not square": "wide"}


def test_repeats_are_kept_once_and_contradictions_not_at_all():
    rows = [("a1", b"a", 30), ("a2", b"a", 30), ("b1", b"b", 30), ("b2", b"b", 31), ("c", b"c", 30), ("a3", b"a", 30)]
    samples, files = pictures(*((name, content, 10, 10, age) for name, content, age in rows))
    drops = Drops()

    assert judge_pictures(rules_of(["strict"]), samples, files, drops) == [True, False, False, False, True, False]
    assert drops.counts == {"same bytes, different labels": 2, "exact repeat": 2}
    assert drops.firsts == {"same bytes, different labels": "b1", "exact repeat": "a2"}


def test_labels_that_exclude_each_other_are_seen_across_sets():
    samples, files = pictures(("a", b"a", 10, 10, 25), ("b", b"b", 10, 10, 25), ("c", b"c", 10, 10, 25), ("d", b"d", 10, 10, 25))
    elsewhere = {b"a": [(20, 29, True), (None, None, None)], b"b": [(25, 25, None), (30, 39, True)], b"c": [(None, None, False)]}
    drops = Drops()

    assert judge_pictures(rules_of(["strict"]), samples, files, drops, elsewhere=elsewhere) == [True, False, False, True]
    assert drops.counts == {"same bytes, different labels": 2, "exact repeat": 0}


def test_several_policies_apply_each_rule_once():
    rules = rules_of(["strict", "profiler", "strict"])

    assert [rule.name for rule in rules] == [rule.name for name in ("strict", "profiler") for rule in POLICIES[name]]


def test_a_mistyped_policy_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"no policy is named 'strickt'; did you mean 'strict'\? \(there are: strict, profiler"):
        rules_of(["strickt"])
