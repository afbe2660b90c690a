import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from framehook_plugins.agegender.inference import both_views
from framehook_plugins.agegender.outputs import (
    AgeClasses,
    AgeDistribution,
    AgeValue,
    Decoded,
    GenderLogit,
    GenderSoftmax,
    Outputs,
    Prediction,
    decode,
)

NEVER = -1e4
"""A logit whose probability is 0."""


def decode_one(age_outputs, gender_outputs=(0.0,), *, age=None, gender=None, temperature=1.0):
    """The age, its standard deviation and the probability of female of one face."""
    outputs = Outputs(age=age or AgeValue(std=1), gender=gender or GenderLogit(), gender_temperature=temperature)
    decoded = decode(Prediction(torch.tensor([age_outputs]), torch.tensor([gender_outputs])), outputs)
    return tuple(float(each) for each in decoded)


def logits(probabilities, size):
    """One row of logits with these probabilities, by index."""
    return [math.log(probabilities[i]) if i in probabilities else NEVER for i in range(size)]


def test_the_age_of_a_distribution_is_its_mean():
    age, std, _ = decode_one(logits({20: 0.25, 40: 0.75}, 101), age=AgeDistribution())

    assert age == pytest.approx(0.25 * 20 + 0.75 * 40, abs=1e-4)
    assert std == pytest.approx(math.sqrt(0.25 * 15**2 + 0.75 * 5**2), abs=1e-4)


def test_a_distribution_may_begin_at_another_year():
    age, std, _ = decode_one([0.0] * 55, age=AgeDistribution(first=21, last=75))

    assert age == pytest.approx(48, abs=1e-4)
    assert std == pytest.approx(math.sqrt((55**2 - 1) / 12), abs=1e-4)


def test_the_age_of_classes_is_the_mean_of_their_middles():
    classes = AgeClasses(brackets=((0, 9), (10, 19), (20, 39)))

    age, std, _ = decode_one(logits({0: 0.5, 1: 0.25, 2: 0.25}, 3), age=classes)

    assert age == pytest.approx(0.5 * 4.5 + 0.25 * 14.5 + 0.25 * 29.5, abs=1e-4)
    between = 0.5 * 8.75**2 + 0.25 * 1.25**2 + 0.25 * 16.25**2
    within = 0.75 * (10**2 - 1) / 12 + 0.25 * (20**2 - 1) / 12
    assert std == pytest.approx(math.sqrt(between + within), abs=1e-4)


def test_classes_say_what_the_same_probability_spread_over_their_years_says():
    brackets = ((0, 2), (3, 9), (10, 19), (20, 49))
    probabilities = (0.1, 0.2, 0.3, 0.4)
    years = [p / (high - low + 1) for p, (low, high) in zip(probabilities, brackets, strict=True) for _ in range(low, high + 1)]

    in_classes = decode_one(list(np.log(probabilities)), age=AgeClasses(brackets=brackets))
    in_years = decode_one(list(np.log(years)), age=AgeDistribution(last=49))

    assert in_classes == pytest.approx(in_years, abs=1e-3)


@pytest.mark.parametrize(("output", "age"), [(0.5, 43.0), (-3.0, 0.0)], ids=["within", "below 0"])
def test_a_value_is_scaled_and_not_negative(output, age):
    assert decode_one([output], age=AgeValue(offset=33, scale=20, std=5.2))[:2] == pytest.approx((age, 5.2))


@pytest.mark.parametrize(
    ("gender", "outputs", "temperature", "female"),
    [
        (GenderLogit(), [math.log(3)], 1, 0.75),
        (GenderLogit(), [math.log(9)], 2, 0.75),
        (GenderLogit(), [-200.0], 1, 0.0),
        (GenderSoftmax(), [1 + math.log(3), 1.0], 1, 0.75),
        (GenderSoftmax(), [0.0, math.log(9)], 2, 0.25),
    ],
    ids=["logit", "logit, cooled", "sure logit", "softmax", "softmax, cooled"],
)
def test_the_gender_is_the_probability_of_female(gender, outputs, temperature, female):
    assert decode_one([0.0], outputs, gender=gender, temperature=temperature)[2] == pytest.approx(female, abs=1e-6)


def test_what_is_decoded_is_float32_though_all_around_is_bfloat16():
    prediction = Prediction(torch.randn(3, 101).bfloat16(), torch.randn(3, 1).bfloat16())
    outputs = Outputs(age=AgeDistribution(), gender=GenderLogit())

    with torch.autocast("cpu", dtype=torch.bfloat16):
        decoded = decode(prediction, outputs)

    exact = decode(Prediction(*(each.double() for each in prediction)), outputs)
    for got, wanted in zip(decoded, exact, strict=True):
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_two_views_of_a_face_are_mixed():
    views = Decoded(
        age=torch.tensor([20.0, 50.0, 30.0, 50.0]),
        age_std=torch.tensor([3.0, 6.0, 4.0, 6.0]),
        female=torch.tensor([0.2, 1.0, 0.4, 0.5]),
    )

    mixed = both_views(views)

    assert mixed.age.tolist() == pytest.approx([25, 50])
    assert mixed.age_std.tolist() == pytest.approx([math.sqrt((9 + 16) / 2 + 25), 6])
    assert mixed.female.tolist() == pytest.approx([0.3, 0.75])


def test_the_mixture_of_two_distributions_is_their_mean_distribution():
    torch.manual_seed(0)
    both, outputs = torch.randn(2, 101), Outputs(age=AgeDistribution(), gender=GenderLogit())

    mixed = both_views(decode(Prediction(both, torch.zeros(2, 1)), outputs))

    one = both.softmax(dim=1).mean(dim=0, keepdim=True).log()
    expected = decode(Prediction(one, torch.zeros(1, 1)), outputs)
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize(
    ("age", "size"),
    [
        (AgeDistribution(), 101),
        (AgeDistribution(first=21, last=75), 55),
        (AgeClasses(brackets=((0, 9), (10, 70))), 2),
        (AgeValue(std=1), 1),
    ],
    ids=["years", "fewer years", "classes", "value"],
)
def test_outputs_know_their_size_and_come_back_from_json(age, size):
    outputs = Outputs(age=age, gender=GenderSoftmax(), gender_temperature=1.3)

    assert (outputs.age.size, outputs.gender.size) == (size, 2)
    assert Outputs.model_validate_json(outputs.model_dump_json()) == outputs


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"age": {"kind": "distribution", "first": 40, "last": 20}}, "want the last year above the first, got 40 to 20"),
        ({"age": {"kind": "distribution", "last": 9999}}, "less than or equal to 150"),
        ({"age": {"kind": "classes", "brackets": [[0, 9], [20, 29]]}}, "brackets that follow one another .* got 20 to 29"),
        ({"age": {"kind": "classes", "brackets": [[0, 9], [9, 19]]}}, "brackets that follow one another .* got 9 to 19"),
        ({"age": {"kind": "classes", "brackets": [[0, 9], [10, 5]]}}, "brackets that follow one another .* got 10 to 5"),
        ({"age": {"kind": "classes", "brackets": [[0, 9]]}}, "at least 2 items"),
        ({"age": {"kind": "value", "scale": 1}}, r"age\.value\.std"),
        ({"age": {"kind": "value", "std": math.nan}}, "finite number"),
        ({"age": {"kind": "guess"}}, "'guess' .* does not match any of the expected tags"),
        ({"gender": {"kind": "logit", "positive": "male"}}, "Extra inputs are not permitted"),
        ({"gender_temperature": 0}, "greater than 0"),
    ],
    ids=[
        "backwards",
        "too many years",
        "gap",
        "overlap",
        "empty",
        "one class",
        "no std",
        "NaN",
        "kind",
        "unknown key",
        "0 degrees",
    ],
)
def test_outputs_that_make_no_sense_are_refused(changes, why):
    good = {"age": {"kind": "value", "std": 5}, "gender": {"kind": "logit"}}

    with pytest.raises(ValidationError, match=why):
        Outputs.model_validate(good | changes)
