"""What training minimises: of an age distribution and of a gender logit."""

import torch
from torch import Tensor
from torch.nn import functional


def age_loss(logits: Tensor, ages: Tensor, *, sigma: float = 2.0, mean_weight: float = 0.05) -> Tensor:
    """Return the loss of each age distribution, (n,): cross-entropy to what its label says.

    An exact age asks for a Gaussian about it, as in Gao et al., "Age Estimation Using Expectation of Label Distribution Learning"
    (IJCAI 2018), with their small L1 term on the mean. A bracket asks only that the probability lie within it: -log P(bracket).

    Args:
        logits: (n, years) for the ages 0 to years - 1.
        ages: (n, 2) youngest and oldest year that the label allows; equal where the age is exact.
        sigma: years; the Gaussian's standard deviation.
        mean_weight: weight of the L1 term, per year.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    years = torch.arange(logits.shape[1], device=logits.device)
    low, high = ages.clamp(0, logits.shape[1] - 1).unbind(dim=1)
    exact = low == high

    target = torch.softmax(-((years - low[:, None]) ** 2) / (2 * sigma**2), dim=1)  # (n, years)
    mean = (log_probabilities.exp() * years).sum(dim=1)
    exact_loss = functional.kl_div(log_probabilities, target, reduction="none").sum(dim=1) + mean_weight * (mean - low).abs()

    within = (years >= low[:, None]) & (years <= high[:, None])
    bracket_loss = -log_probabilities.masked_fill(~within, -torch.inf).logsumexp(dim=1)
    return torch.where(exact, exact_loss, bracket_loss)


def gender_loss(logits: Tensor, female: Tensor, *, smoothing: float = 0.05) -> Tensor:
    """Return the cross-entropy of each gender logit, (n,), to a label that is trusted up to `smoothing`.

    Args:
        logits: (n,) log-odds of female.
        female: (n,) bool.
        smoothing: 0 to 1; the probability that is taken from the label and shared out evenly.
    """
    target = female.float() * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
