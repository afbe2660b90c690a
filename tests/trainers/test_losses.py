import numpy as np
import pytest
import torch

from framehook_trainers.losses import (
    absolute_error,
    age_loss,
    binary_cross_entropy,
    coral,
    cross_entropy,
    expected_value_error,
    gaussian_targets,
    interval_likelihood,
    label_divergence,
    masked_mean,
    mean_variance,
    squared_error,
    weighted_kappa,
)

LOGITS = np.random.default_rng(0).normal(size=(5, 101)) * 2
AGES = np.array([0, 23, 47, 80, 100])
YEARS = np.arange(101)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def tensor(values):
    return torch.tensor(values)


def check(loss, formula):
    np.testing.assert_allclose(loss.numpy(), formula, rtol=1e-4, atol=1e-5)


P = softmax(LOGITS)
MEAN = P @ YEARS
GAUSSIAN = softmax(-((YEARS - AGES[:, None]) ** 2) / (2 * 2.0**2))
DIVERGENCE = (GAUSSIAN * (np.log(np.maximum(GAUSSIAN, 1e-300)) - np.log(P))).sum(axis=1)


def test_squared_error_is_its_formula():
    check(squared_error(tensor([1.0, 5.0]), tensor([4.0, 3.0])), [9, 4])


def test_absolute_error_is_its_formula():
    check(absolute_error(tensor([1.0, 5.0]), tensor([4.0, 3.0])), [3, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_its_formula(smoothing):
    logits, targets = LOGITS[0, :4], np.array([1, 0, 0.3, 1])
    wanted = targets * (1 - smoothing) + smoothing / 2

    loss = binary_cross_entropy(tensor(logits), tensor(targets), smoothing=smoothing)

    check(loss, -wanted * np.log(sigmoid(logits)) - (1 - wanted) * np.log(1 - sigmoid(logits)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_its_formula(smoothing):
    wanted = np.eye(101)[AGES] * (1 - smoothing) + smoothing / 101

    check(cross_entropy(tensor(LOGITS), tensor(AGES), smoothing=smoothing), -(wanted * np.log(P)).sum(axis=1))


def test_cross_entropy_takes_soft_targets():
    check(cross_entropy(tensor(LOGITS), tensor(GAUSSIAN)), -(GAUSSIAN * np.log(P)).sum(axis=1))


def test_label_divergence_is_its_formula():
    targets = gaussian_targets(tensor(AGES), first=0, size=101, sigma=2.0)

    check(targets, GAUSSIAN)
    check(label_divergence(tensor(LOGITS), targets), DIVERGENCE)


def test_interval_likelihood_is_its_formula():
    brackets = np.array([[0, 2], [20, 29], [47, 47], [70, 100], [0, 100]])
    inside = [P[i, low : high + 1].sum() for i, (low, high) in enumerate(brackets)]

    check(interval_likelihood(tensor(LOGITS), tensor(brackets)), -np.log(inside))


def test_age_loss_takes_each_label_for_what_it_says():
    ages = np.stack([AGES, AGES], axis=1)
    ages[1] = 20, 29
    formula = DIVERGENCE + 0.05 * np.abs(MEAN - AGES)
    formula[1] = -np.log(P[1, 20:30].sum())

    check(age_loss(tensor(LOGITS), tensor(ages), sigma=2.0, mean_weight=0.05), formula)


def test_mean_variance_is_its_formula():
    variance = (P * (YEARS - MEAN[:, None]) ** 2).sum(axis=1)
    formula = -np.log(P[np.arange(5), AGES]) + 0.2 * (MEAN - AGES) ** 2 / 2 + 0.05 * variance

    check(mean_variance(tensor(LOGITS), tensor(AGES)), formula)


def test_coral_is_its_formula():
    logits, classes = LOGITS[:, :4], np.array([0, 1, 2, 3, 4])
    above = (classes[:, None] > np.arange(4)).astype(float)
    formula = -(above * np.log(sigmoid(logits)) + (1 - above) * np.log(1 - sigmoid(logits))).sum(axis=1)

    check(coral(tensor(logits), tensor(classes)), formula)


def test_weighted_kappa_is_its_formula():
    classes, known = np.array([0, 1, 2, 2, 1]), np.array([True, True, True, True, False])
    answers = softmax(LOGITS[:, :3])
    observed = by_chance = 0.0
    for i in range(3):
        for j in range(3):
            weight = (i - j) ** 2 / (3 - 1) ** 2
            told = (classes == i) & known
            observed += weight * answers[told, j].sum()
            by_chance += weight * told.sum() * answers[known, j].sum() / known.sum()

    check(weighted_kappa(tensor(LOGITS[:, :3]), tensor(classes), tensor(known)), np.log(observed / by_chance))


def test_weighted_kappa_rewards_agreement():
    classes, known = torch.tensor([0, 1, 2]), torch.ones(3, dtype=torch.bool)
    right, near, wrong = (torch.eye(3)[places] * 20 for places in ([0, 1, 2], [0, 1, 1], [2, 1, 0]))

    losses = [weighted_kappa(logits, classes, known).item() for logits in (right, near, wrong)]

    assert losses == sorted(losses)
    assert losses[2] == pytest.approx(np.log(2), abs=1e-4)  # kappa -1


def test_expected_value_error_is_its_formula():
    middles = np.array([1.0, 6.0, 14.5])

    loss = expected_value_error(tensor(LOGITS[:, :3]), tensor(AGES), values=tensor(middles))

    check(loss, (softmax(LOGITS[:, :3]) @ middles - AGES) ** 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda: mean_variance(tensor(LOGITS), tensor(AGES)),
        lambda: expected_value_error(tensor(LOGITS[:, :3]), tensor(AGES), values=torch.tensor([1.0, 6.0, 14.5])),
        lambda: weighted_kappa(tensor(LOGITS[:, :3]), torch.tensor([0, 1, 2, 2, 1]), torch.ones(5, dtype=torch.bool)),
    ],
    ids=["mean-variance", "expected value error", "weighted kappa"],
)
def test_autocast_does_not_round_what_a_loss_sums(loss):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss()

    torch.testing.assert_close(rounded, loss(), rtol=1e-6, atol=0)


def test_years_count_from_the_first_one():
    shifted = {"first": 21}
    ages = torch.tensor([[30, 30], [40, 49]])
    logits = torch.tensor(LOGITS[:2, :55])

    check(age_loss(logits, ages, **shifted), age_loss(logits, ages - 21).numpy())
    check(mean_variance(logits, ages[:, 0], **shifted), mean_variance(logits, ages[:, 0] - 21).numpy())


def test_ages_beyond_the_last_year_count_as_the_last():
    logits, ages = torch.tensor(LOGITS[:1]), torch.tensor([[116, 116]])

    assert age_loss(logits, ages).equal(age_loss(logits, ages.clamp(max=100)))
    assert mean_variance(logits, ages[:, 0]).equal(mean_variance(logits, torch.tensor([100])))


UNKNOWN = {
    "squared error": lambda logits, label: squared_error(logits[:, 0], label),
    "absolute error": lambda logits, label: absolute_error(logits[:, 0], label),
    "binary cross-entropy": lambda logits, label: binary_cross_entropy(logits[:, 0], label, smoothing=0.05),
    "cross-entropy": cross_entropy,
    "interval likelihood": lambda logits, label: interval_likelihood(logits, torch.stack([label, label], dim=1)),
    "age loss": lambda logits, label: age_loss(logits, torch.stack([label, label], dim=1)),
    "mean-variance": mean_variance,
    "CORAL": coral,
    "expected value error": lambda logits, label: expected_value_error(logits, label, values=torch.arange(101)),
}


@pytest.mark.parametrize("loss", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_labels_contribute_nothing(loss):
    logits = torch.tensor(LOGITS[:3], requires_grad=True)
    labels = torch.tensor([1, -1, 0])

    mean = masked_mean(loss(logits, labels), labels >= 0)
    mean.backward()

    known = loss(torch.tensor(LOGITS[[0, 2]]), labels[[0, 2]]).mean()
    assert mean.item() == pytest.approx(known.item(), rel=1e-5)
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[1].any()
    assert logits.grad[0].any()


def test_unknown_labels_do_not_touch_the_kappa():
    logits = torch.tensor(LOGITS[:4, :3], requires_grad=True)
    classes = torch.tensor([1, -1, 0, 2])

    weighted_kappa(logits, classes, classes >= 0).backward()

    assert not logits.grad[1].any()
    assert logits.grad[0].any()


@pytest.mark.parametrize("loss", [*UNKNOWN.values(), lambda logits, label: weighted_kappa(logits, label, label >= 0)[None]])
def test_a_batch_without_labels_teaches_nothing(loss):
    logits = torch.tensor(LOGITS[:2], requires_grad=True)
    labels = torch.tensor([-1, -1])

    mean = masked_mean(loss(logits, labels), labels >= 0)
    mean.backward()

    assert mean.item() == 0
    assert not logits.grad.any()
