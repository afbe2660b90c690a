import numpy as np
import pytest

from framehook_trainers.metrics import bracket_of, evaluate_predictions, score

FEMALE = np.array([True, False, True, True])


def test_exact_ages_are_measured_in_years():
    metrics = evaluate_predictions(
        np.array([20.0, 33.0, 50.0, 71.0]),
        np.array([True, False, True, False]),
        true_ages=np.array([[20, 20], [30, 30], [58, 58], [70, 70]]),
        true_female=FEMALE,
    )

    assert metrics["faces"] == 4
    assert metrics["gender_accuracy"]["value"] == 0.75
    assert metrics["age_mae_years"]["value"] == 3
    assert metrics["age_within_5_years"]["value"] == 0.75
    assert metrics["by_age"]["50-59"] == {"faces": 1, "gender_accuracy": 1, "age_mae_years": 8, "age_bias_years": -8}
    assert metrics["by_age"]["more than 70"]["gender_accuracy"] == 0
    assert sum(group["faces"] for group in metrics["by_age"].values()) == 4


def test_brackets_are_measured_by_how_many_are_met():
    metrics = evaluate_predictions(
        np.array([1.0, 9.4, 28.0, 99.0]),
        FEMALE,
        true_ages=np.array([[0, 2], [3, 9], [40, 49], [70, 100]]),
        true_female=FEMALE,
    )

    assert metrics["bracket_accuracy"]["value"] == 0.75
    assert metrics["bracket_within_one"]["value"] == 0.75


@pytest.mark.parametrize(("age", "bracket"), [(0, 0), (2.4, 0), (2.6, 1), (9, 1), (19.6, 3), (69.4, 7), (70, 8), (100, 8)])
def test_an_age_falls_into_the_bracket_of_its_whole_years(age, bracket):
    assert bracket_of(np.array([age]))[0] == bracket


def test_the_interval_holds_the_mean_and_narrows_with_more_faces():
    random = np.random.default_rng(0)
    few, many = score(random.random(50)), score(random.random(5000))

    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 5
