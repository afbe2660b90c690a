"""Whether the gender probability means what it says, and how to make it: Guo et al., "On Calibration of Modern Neural Networks".

Source: Guo, Pleiss, Sun and Weinberger (ICML 2017): section 2 for the bins and the expected calibration error, section 4.2 for
the temperature. The confidence is the probability of the likelier gender, so only the bins from 0.5 up are ever filled.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logit

from framehook import UsageError
from framehook_trainers.bootstrap import Floats, Statistic

BINS = 15
"""Of equal width over the confidences 0 to 1; each holds its upper edge."""

_SURE = 1e-7  # a probability nearer to 0 or 1 than float32 tells apart
TEMPERATURES = (0.05, 20.0)
"""The least and the most that a temperature may be."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """What a reliability diagram shows: n images in bins of their confidence."""

    counts: NDArray[np.int64]
    """(15,) images in each bin."""
    confidence: Floats
    """(15,) their mean confidence; NaN in an empty bin."""
    accuracy: Floats
    """(15,) the share whose gender is right; NaN in an empty bin."""
    ece: float
    """Expected calibration error (equation 3 of the paper); NaN where there is no image."""


def reliability(female: NDArray[np.floating], labels: NDArray[np.integer]) -> Reliability:
    """Return how confidence and accuracy agree.

    Args:
        female: (n,) probability.
        labels: (n,) 1, 0, or -1 where unknown: such an image is left out.
    """
    known = labels >= 0
    confidence, right = _confidence_and_right(female[known], labels[known])
    bins = _bin_of(confidence)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):  # an empty bin, or none: 0 / 0, which is NaN
        mean_confidence = np.bincount(bins, confidence, BINS) / counts
        accuracy = np.bincount(bins, right, BINS) / counts
        ece = np.nansum(counts * np.abs(accuracy - mean_confidence)) / np.float64(counts.sum())
    return Reliability(counts=counts, confidence=mean_confidence, accuracy=accuracy, ece=float(ece))


def ece_of(female: NDArray[np.floating], labels: NDArray[np.integer]) -> Statistic:
    """Return the statistic of the expected calibration error, k = 1; the arguments are those of `reliability`.

    Noise adds to a sum of absolute values, and a resample has more of it than the images themselves: the interval leans upward.
    """
    known = labels >= 0
    confidence, right = _confidence_and_right(female, labels)
    excess = np.zeros((len(female), BINS))
    excess[np.arange(len(female)), _bin_of(confidence)] = np.where(known, right - confidence, 0.0)

    def ece(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # nothing known: 0 / 0, which is NaN
            return np.asarray(np.abs(weights @ excess).sum(axis=1) / (weights @ known))[:, None]

    return ece


def fit_temperature(female: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the temperature that makes the probabilities of a validation split likeliest: above 1 where they are too sure.

    The logit divided by it gives the calibrated probability; which gender is the likelier never changes.

    Args:
        female: (n,) probability.
        labels: (n,) 1, 0, or -1 where unknown: such an image is left out.

    Raises:
        UsageError: there is no image of one of the genders.
    """
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        raise UsageError(f"a temperature needs images of both genders, got {known.sum()} of one: fit it on a larger split")
    logits, signs = _logits(female[known]), np.where(labels[known] == 1, 1.0, -1.0)

    def negative_log_likelihood(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signs * logits / np.exp(log_temperature)).mean())

    found = minimize_scalar(negative_log_likelihood, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def is_fitted(temperature: float) -> bool:
    """Say whether a temperature is what the images ask for: at an end of the range they ask for more than that."""
    return TEMPERATURES[0] * 1.01 < temperature < TEMPERATURES[1] / 1.01


def _logits(female: NDArray[np.floating]) -> Floats:
    return np.asarray(logit(np.clip(female.astype(np.float64), _SURE, 1 - _SURE)))


def _confidence_and_right(female: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Floats, NDArray[np.bool_]]:
    probability = female.astype(np.float64)
    return np.maximum(probability, 1 - probability), (probability >= 0.5) == (labels == 1)


def _bin_of(confidence: Floats) -> NDArray[np.int64]:
    return (np.ceil(confidence * BINS).astype(np.int64) - 1).clip(0, BINS - 1)
