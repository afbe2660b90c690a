"""What training minimises: one value a face, (n,), which `masked_mean` averages over the faces whose label is known.

An unknown label is -1. A loss takes it for some valid one, so that its value and gradient are finite there, and `masked_mean`
leaves both out. The weighted kappa alone belongs to a batch and not to a face: it is told itself which labels are known.
"""

import torch
from torch import Tensor
from torch.nn import functional


def masked_mean(losses: Tensor, known: Tensor) -> Tensor:
    """Return the mean over the faces with a label; 0, with a gradient of 0, where none has one.

    Args:
        losses: (n,).
        known: (n,) bool.
    """
    return losses.masked_fill(~known, 0).sum() / known.sum().clamp(min=1)


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Return the squared error of each value, (n,)."""
    return (values.float() - targets) ** 2


def absolute_error(values: Tensor, targets: Tensor) -> Tensor:
    """Return the absolute error of each value, (n,)."""
    return (values.float() - targets).abs()


def binary_cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each logit, (n,), to a label that is trusted up to `smoothing`.

    Args:
        logits: (n,) log-odds.
        targets: (n,) 0, 1, or between for a mixture; -1 where unknown.
        smoothing: 0 to 1; the probability that is taken from the label and shared out evenly.
    """
    wanted = targets.float().clamp(min=0) * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each row of logits, (n,).

    Args:
        logits: (n, k).
        targets: (n,) classes, -1 where unknown, or (n, k) probabilities.
        smoothing: 0 to 1; the probability that is taken from the label and shared out evenly.
    """
    wanted = targets.clamp(min=0).long() if targets.ndim == 1 else targets.float()
    return functional.cross_entropy(logits.float(), wanted, reduction="none", label_smoothing=smoothing)


def gaussian_targets(ages: Tensor, *, first: int, size: int, sigma: float) -> Tensor:
    """Return the distribution over whole years that each exact age asks for, (n, size): a Gaussian about it.

    Args:
        ages: (n,) years; those beyond the first or last year count as that year.
        first: the year of column 0.
        size: how many years.
        sigma: years; the standard deviation.
    """
    years = torch.arange(first, first + size, device=ages.device)
    middle = ages.clamp(first, first + size - 1)[:, None]
    return torch.softmax(-((years - middle) ** 2) / (2 * sigma**2), dim=1)


def label_divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each predicted distribution from its target, (n,): DLDL.

    Source: Gao et al., "Deep Label Distribution Learning with Label Ambiguity" (IEEE TIP 2017).

    Args:
        logits: (n, k).
        targets: (n, k) probabilities, as `gaussian_targets` makes them.
    """
    return functional.kl_div(logits.float().log_softmax(dim=1), targets, reduction="none").sum(dim=1)


def interval_likelihood(logits: Tensor, ages: Tensor, *, first: int = 0) -> Tensor:
    """Return minus the logarithm of the probability that lies within each bracket, (n,); within it no year is preferred.

    Args:
        logits: (n, years) of the years from `first` on.
        ages: (n, 2) youngest and oldest year that the label allows.
        first: the year of column 0.
    """
    years = torch.arange(first, first + logits.shape[1], device=logits.device)
    low, high = ages.clamp(first, first + logits.shape[1] - 1).unbind(dim=1)
    within = (years >= low[:, None]) & (years <= high[:, None])
    return -logits.float().log_softmax(dim=1).masked_fill(~within, -torch.inf).logsumexp(dim=1)


def age_loss(logits: Tensor, ages: Tensor, *, first: int = 0, sigma: float = 2.0, mean_weight: float = 0.05) -> Tensor:
    """Return the loss of each age distribution, (n,): exact ages by `label_divergence`, brackets by `interval_likelihood`.

    An exact age also pulls at the mean by a small L1 term, as in Gao et al., "Age Estimation Using Expectation of Label
    Distribution Learning" (IJCAI 2018).

    Args:
        logits: (n, years) of the years from `first` on.
        ages: (n, 2) youngest and oldest year that the label allows; equal where the age is exact.
        first: the year of column 0.
        sigma: years; the Gaussian's standard deviation.
        mean_weight: weight of the L1 term, per year.
    """
    low, high = ages.unbind(dim=1)
    wanted = low.clamp(first, first + logits.shape[1] - 1)
    targets = gaussian_targets(low, first=first, size=logits.shape[1], sigma=sigma)
    mean = _moments(logits, first=first)[0]
    exact = label_divergence(logits, targets) + mean_weight * absolute_error(mean, wanted)
    return torch.where(low == high, exact, interval_likelihood(logits, ages, first=first))


def mean_variance(
    logits: Tensor, ages: Tensor, *, first: int = 0, mean_weight: float = 0.2, variance_weight: float = 0.05
) -> Tensor:
    """Return the mean-variance loss of each age distribution, (n,), the softmax loss included.

    Source: Pan, Han, Shan and Chen, "Mean-Variance Loss for Deep Age Estimation from a Face" (CVPR 2018), with the
    paper's weights.

    Args:
        logits: (n, years) of the years from `first` on.
        ages: (n,) exact ages in whole years; -1 where unknown.
        first: the year of column 0.
        mean_weight: of half the squared error of the mean, per square year.
        variance_weight: of the variance, per square year.
    """
    wanted = ages.clamp(first, first + logits.shape[1] - 1)
    mean, variance = _moments(logits, first=first)
    mean_loss = squared_error(mean, wanted) / 2
    return cross_entropy(logits, wanted - first) + mean_weight * mean_loss + variance_weight * variance


def coral(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the loss of ranks that are told apart by their thresholds, (n,): CORAL.

    Source: Cao, Mirjalili and Raschka, "Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation" (Pattern Recognition Letters 2020), with every importance 1.

    Args:
        logits: (n, k - 1) log-odds that the class is above 0, 1, …, k - 2.
        classes: (n,) 0 to k - 1; -1 where unknown.
    """
    above = classes[:, None] > torch.arange(logits.shape[1], device=logits.device)
    return functional.binary_cross_entropy_with_logits(logits.float(), above.float(), reduction="none").sum(dim=1)


def weighted_kappa(logits: Tensor, classes: Tensor, known: Tensor) -> Tensor:
    """Return the logarithm of 1 - the quadratic weighted kappa of a whole batch, a single value.

    Source: de la Torre, Puig and Valls, "Weighted kappa loss function for multi-class classification of ordinal data in deep
    learning" (Pattern Recognition Letters 2018).

    Args:
        logits: (n, k).
        classes: (n,) 0 to k - 1.
        known: (n,) bool; the others count for nothing.
    """
    k = logits.shape[1]
    places = torch.arange(k, device=logits.device)
    weights = (places[:, None] - places) ** 2 / (k - 1) ** 2  # (k of the label, k of the answer)
    told = ((classes[:, None] == places) & known[:, None]).float()
    answers = logits.float().softmax(dim=1) * known[:, None]
    together = (told[:, :, None] * answers[:, None, :]).sum(dim=0)  # no product of matrices: autocast rounds those to bfloat16
    observed = (weights * together).sum()
    by_chance = (weights * torch.outer(told.sum(dim=0), answers.sum(dim=0))).sum() / known.sum().clamp(min=1)
    least = torch.finfo(torch.float32).eps  # a batch of one class leaves nothing to chance
    return torch.log((observed + least) / (by_chance + least))


def expected_value_error(logits: Tensor, targets: Tensor, *, values: Tensor) -> Tensor:
    """Return the squared error of each distribution's expected value, (n,).

    Args:
        logits: (n, k).
        targets: (n,) in the units of `values`.
        values: (k,) what each class stands for: its place, or the middle of its ages.
    """
    return squared_error((logits.float().softmax(dim=1) * values.float()).sum(dim=1), targets)


def _moments(logits: Tensor, *, first: int) -> tuple[Tensor, Tensor]:
    """Return the mean, in years, and the variance of each age distribution, (n,) each."""
    years = torch.arange(first, first + logits.shape[1], dtype=torch.float32, device=logits.device)
    probabilities = logits.float().softmax(dim=1)
    mean = (probabilities * years).sum(dim=1)  # no product of matrices: autocast rounds those to bfloat16, by up to 0.28 years
    return mean, (probabilities * (years - mean[:, None]) ** 2).sum(dim=1)
