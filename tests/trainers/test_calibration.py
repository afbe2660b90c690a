import numpy as np
import pytest
from scipy.special import expit, logit

from framehook import UsageError
from framehook_trainers.bootstrap import estimate
from framehook_trainers.calibration import ece_of, fit_temperature, reliability


@pytest.fixture
def calibrated():
    """Probabilities that are kept: of those said to be 80 % female, 80 % are."""
    random = np.random.default_rng(0)
    probability = random.beta(0.7, 0.7, 20_000)
    return probability, (random.random(20_000) < probability).astype(np.int8)


def test_the_ece_is_the_mean_distance_of_accuracy_from_confidence_weighted_by_the_bins():
    female = np.array([0.95, 0.95, 0.95, 0.95, 0.3, 0.3])  # two bins, of confidence 0.95 and 0.7
    labels = np.array([1, 1, 1, 0, 0, 1])

    found = reliability(female, labels)

    assert found.ece == pytest.approx((4 * abs(0.75 - 0.95) + 2 * abs(0.5 - 0.7)) / 6)
    assert found.counts[[10, 14]].tolist() == [2, 4]
    assert found.accuracy[[10, 14]].tolist() == [0.5, 0.75]


def test_the_bootstrapped_statistic_is_the_ece_of_the_diagram(calibrated):
    female, labels = (values[:2000] for values in calibrated)
    labels = np.where(np.arange(2000) % 10, labels, -1)

    value, low, high = estimate(ece_of(female, labels), images=2000)

    assert value[0] == pytest.approx(reliability(female, labels).ece)
    assert low[0] < value[0] < high[0]


def apply_temperature(female, temperature):
    """Divide the probabilities' logits, as inference does."""
    return expit(logit(female) / temperature)


def test_a_calibrated_classifier_has_almost_no_error_and_a_sharpened_one_has(calibrated):
    female, labels = calibrated

    assert reliability(female, labels).ece < 0.01
    assert reliability(apply_temperature(female, 0.4), labels).ece > 0.05


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_sharpened_or_blunted_classifier_is_brought_back(calibrated, temperature):
    female, labels = calibrated
    spoiled = apply_temperature(female, temperature)

    fitted = fit_temperature(spoiled, labels)

    assert fitted == pytest.approx(1 / temperature, rel=0.05)
    assert reliability(apply_temperature(spoiled, fitted), labels).ece < 0.012


def test_unknown_labels_do_not_count(calibrated):
    female, labels = calibrated
    some = np.arange(20_000) % 2 == 0

    assert fit_temperature(female, np.where(some, labels, -1)) == fit_temperature(female[some], labels[some])


def test_a_certain_answer_that_is_wrong_is_survived():
    assert fit_temperature(np.array([1.0, 0.0, 1.0, 0.0, 1.0]), np.array([1, 0, 1, 0, 0])) > 1


def test_one_gender_is_not_enough_for_a_temperature():
    with pytest.raises(UsageError, match="needs images of both genders, got 3 of one"):
        fit_temperature(np.full(4, 0.9), np.array([1, 1, 1, -1]))
