import math

import pytest
import torch

from framehook_trainers.losses import age_loss, gender_loss


def ages(*rows):
    return torch.tensor(rows)


def peaked_at(age, sigma=2.0):
    years = torch.arange(101)
    return (-((years - age) ** 2) / (2 * sigma**2))[None].float()


def test_an_exact_age_is_met_by_its_gaussian():
    assert age_loss(peaked_at(40), ages((40, 40))).item() == pytest.approx(0, abs=1e-4)
    assert age_loss(peaked_at(45), ages((40, 40))).item() > 3


def test_the_mean_is_pulled_by_its_weight():
    near, far = (age_loss(peaked_at(age), ages((40, 40)), mean_weight=0).item() for age in (41, 45))
    weighted = age_loss(peaked_at(45), ages((40, 40)), mean_weight=0.1).item()

    assert near < far
    assert weighted - far == pytest.approx(0.5, abs=1e-3)


def test_a_bracket_costs_the_logarithm_of_its_probability():
    uniform = torch.zeros(1, 101)

    assert age_loss(uniform, ages((20, 29))).item() == pytest.approx(-math.log(10 / 101), abs=1e-5)
    assert age_loss(uniform, ages((70, 100))).item() == pytest.approx(-math.log(31 / 101), abs=1e-5)


def test_within_a_bracket_no_age_is_preferred():
    losses = [age_loss(peaked_at(age, 0.5), ages((20, 29))).item() for age in (23, 26)]

    assert losses == pytest.approx([0, 0], abs=1e-4)


def test_ages_beyond_the_last_year_count_as_the_last():
    assert age_loss(peaked_at(90), ages((116, 116))).equal(age_loss(peaked_at(90), ages((100, 100))))


def test_mixed_batches_learn_without_nan():
    logits = torch.zeros(3, 101, requires_grad=True)

    age_loss(logits, ages((0, 2), (50, 50), (70, 100))).sum().backward()

    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 50]


def test_gender_labels_are_doubted_as_told():
    certain, doubted = (gender_loss(torch.tensor([20.0]), torch.tensor([True]), smoothing=s).item() for s in (0, 0.1))

    assert certain == pytest.approx(0, abs=1e-6)
    assert doubted == pytest.approx(20 * 0.05, abs=1e-3)
