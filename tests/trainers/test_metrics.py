import json

import numpy as np
import pytest

from framehook import UsageError
from framehook_trainers.metrics import Answers, Labels, bracket_of, measure


def answers(age, female, age_std=5.0):
    age = np.asarray(age, float)
    return Answers(age=age, age_std=np.broadcast_to(np.asarray(age_std, float), age.shape), female=np.asarray(female, float))


def labels(ages, female, races=None):
    ages = np.array([age if isinstance(age, tuple) else (age, age) for age in ages], np.int64).reshape(-1, 2)
    races = [""] * len(ages) if races is None else races
    return Labels(ages=ages, female=np.array(female, np.int8), races=np.array(races, dtype=str))


def test_exact_ages_are_measured_in_years_and_in_brackets():
    metrics = measure(answers([20, 33, 50, 71], [0.9, 0.2, 0.8, 0.4], [1, 2, 9, 1]), labels([20, 30, 58, 70], [1, 0, 1, 1]))

    assert metrics["images"] == 4
    assert metrics["gender"]["accuracy"] == 0.75
    age = metrics["age"]
    assert (age["mae"], age["bias"], age["within_5"], age["exact"]) == (3, -1, 0.75, 4)
    assert (age["bracket_accuracy"], age["bracket_within_one"]) == (1, 1)
    assert metrics["calibration"]["age_coverage"] == 0.75
    assert metrics["groups"]["age"]["50-59"]["age"]["bias"] == -8


def test_of_brackets_only_brackets_are_measured():
    metrics = measure(answers([1, 9.4, 28, 99], [1, 1, 1, 1]), labels([(0, 2), (3, 9), (40, 49), (70, 100)], [1, 1, 1, 1]))

    assert (metrics["age"]["bracket_accuracy"], metrics["age"]["bracket_within_one"]) == (0.75, 0.75)
    for name in ("mae", "mae_95", "within_5", "within_5_95", "bias"):
        assert metrics["age"][name] is None
    assert metrics["calibration"]["age_coverage"] is None
    assert metrics["gender"]["auc"] is None, "there is one gender only"


def test_unknown_labels_are_left_out_of_their_metric_and_counted():
    metrics = measure(
        answers([20, 90, 40, 30], [0.9, 0.9, 0.1, 0.9]),
        labels([22, (-1, -1), (25, 60), 30], [1, -1, 0, -1], ["Asian", "", "", "White"]),
    )

    assert (metrics["gender"]["images"], metrics["gender"]["unknown"], metrics["gender"]["accuracy"]) == (2, 2, 1)
    assert (metrics["age"]["exact"], metrics["age"]["bracketed"], metrics["age"]["unknown"]) == (2, 2, 1)
    assert metrics["age"]["mae"] == 1
    assert metrics["groups"]["unlabelled"] == {"age": 2, "gender": 2, "race": 2}
    assert metrics["groups"]["race"].keys() == {"Asian", "White"}


def test_without_any_label_every_metric_is_null_and_json_can_carry_it():
    metrics = json.loads(json.dumps(measure(answers([20], [0.9]), labels([(-1, -1)], [-1])), allow_nan=False))

    assert metrics["gender"] == {
        "images": 0, "unknown": 1, "accuracy": None, "accuracy_95": None, "auc": None, "auc_95": None
    }  # fmt: skip
    assert metrics["calibration"]["ece"] is None
    assert metrics["groups"]["largest_gap"] is None


def test_the_auc_is_the_share_of_pairs_in_order_with_ties_counting_half():
    random = np.random.default_rng(0)
    female = random.integers(0, 2, 300)
    scores = np.round((random.normal(female, 1.5) + 5) / 10, 1).clip(0, 1)  # rounded: many ties
    ahead = scores[female == 1][:, None] - scores[female == 0]

    metrics = measure(answers(np.full(300, 30), scores), labels(np.full(300, 30), female))

    assert metrics["gender"]["auc"] == pytest.approx(((ahead > 0) + (ahead == 0) / 2).mean(), abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_of_a_share_is_as_wide_as_the_binomial_says(share):
    female = (np.arange(4000) % 100 < 100 * share).astype(int)

    metrics = measure(answers(np.full(4000, 30), np.ones(4000)), labels(np.full(4000, 30), female))

    low, high = metrics["gender"]["accuracy_95"]
    assert low < share < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 4000), rel=0.1)


def test_the_interval_of_the_auc_is_as_wide_as_hanley_and_mcneil_say():
    random = np.random.default_rng(1)
    female = np.repeat([0, 1], 1000)
    scores = 1 / (1 + np.exp(-random.normal(female, 1)))

    metrics = measure(answers(np.full(2000, 30), scores), labels(np.full(2000, 30), female))

    auc, (low, high) = metrics["gender"]["auc"], metrics["gender"]["auc_95"]
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    deviation = np.sqrt((auc * (1 - auc) + 999 * (q1 - auc**2) + 999 * (q2 - auc**2)) / 1000**2)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def of_groups(sizes, shares_right):
    """Women of 30 years, of which each race's share has its gender right."""
    races = [race for race, size in sizes.items() for _ in range(size)]
    said = [
        0.9 if i < round(size * right) else 0.1
        for size, right in zip(sizes.values(), shares_right, strict=True)
        for i in range(size)
    ]
    n = len(races)
    return measure(answers(np.full(n, 30), said), labels(np.full(n, 30), np.ones(n), races))


def test_the_largest_gap_names_best_and_worst_group_with_their_counts():
    groups = of_groups({"Black": 40, "Indian": 100, "White": 50}, [0.9, 0.95, 0.6])["groups"]

    assert groups["gaps"][0] == {
        "metric": "gender.accuracy",
        "dimension": "race",
        "best": {"group": "Indian", "value": 0.95, "images": 100},
        "worst": {"group": "White", "value": 0.6, "images": 50},
        "difference": 0.35,
    }


def test_a_group_of_few_images_is_shown_and_not_compared():
    groups = of_groups({"Black": 29, "Indian": 30, "White": 30}, [0.0, 0.9, 0.8])["groups"]

    assert groups["race"]["Black"]["gender"]["accuracy"] == 0
    assert groups["largest_gap"]["best"]["group"] == "Indian"
    assert groups["largest_gap"]["worst"]["group"] == "White"


def test_the_largest_gap_is_between_shares_for_years_do_not_compare_with_them():
    ages = np.repeat([5, 45], 40)

    metrics = measure(answers(ages + np.repeat([0, 30], 40), np.tile([0.9, 0.1], 40)), labels(ages, np.tile([1, 0], 40)))

    gaps = {gap["metric"]: gap for gap in metrics["groups"]["gaps"] if gap["dimension"] == "age"}
    assert gaps["age.mae"]["difference"] == 30
    assert gaps["age.mae"]["worst"]["group"] == "40-49"
    assert metrics["groups"]["largest_gap"]["metric"] in ("age.within_5", "age.bracket_accuracy")
    assert metrics["groups"]["largest_gap"]["difference"] == 1


@pytest.mark.parametrize(
    ("age", "bracket"), [(-3, 0), (0, 0), (2.4, 0), (2.6, 1), (9, 1), (19.6, 3), (69.4, 7), (70, 8), (116, 8)]
)
def test_an_age_falls_into_the_bracket_of_its_whole_years(age, bracket):
    assert bracket_of(np.array([age]))[0] == bracket


def test_nothing_to_measure_is_told():
    with pytest.raises(UsageError, match="no image to measure by"):
        measure(answers([], []), labels([], []))


def test_answers_of_other_images_than_the_labels_are_refused():
    with pytest.raises(ValueError, match="1 answers do not fit 2 labels"):
        measure(answers([1], [1]), labels([1, 2], [1, 1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: answers([20, np.nan], [0, 1]), "age of image 1 is no finite number"),
        (lambda: answers([20, 30], [0]), r"female must be \(2,\) like the ages, got \(1,\)"),
        (lambda: labels([20, 30], [0]), r"female must be \(2,\), got \(1,\)"),
    ],
    ids=["not finite", "answers of two lengths", "labels of two lengths"],
)
def test_arrays_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
