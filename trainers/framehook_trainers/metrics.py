"""How good a prediction is, with the uncertainty that a split of this size leaves."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framehook_trainers.datasets.fairface import BRACKETS

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over faces, and the interval that holds it in 95 % of resampled splits."""

    value: float
    """The mean."""
    low: float
    """2.5 % quantile of the bootstrap (Efron, 1979)."""
    high: float
    """97.5 % quantile."""

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def score(values: NDArray[np.floating] | NDArray[np.bool_]) -> Score:
    """Return the mean of one value a face, (n,), n at least 1, with its bootstrap interval."""
    random = np.random.default_rng(0)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(values.mean()), float(low), float(high))


def evaluate_predictions(
    age: NDArray[np.floating], female: NDArray[np.bool_], *, true_ages: NDArray[np.int64], true_female: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the metrics that the labels allow: of exact ages the errors in years, of brackets the share that is met.

    Args:
        age: (n,) predicted, years.
        female: (n,) predicted.
        true_ages: (n, 2) youngest and oldest year that the label allows.
        true_female: (n,).
    """
    right = female == true_female
    metrics: dict[str, Any] = {"faces": len(age), "gender_accuracy": score(right)}
    if (true_ages[:, 0] == true_ages[:, 1]).all():
        error = age - true_ages[:, 0]
        metrics["age_mae_years"] = score(np.abs(error))
        metrics["age_within_5_years"] = score(np.abs(error) <= 5)
        metrics["by_age"] = _by_age(true_ages[:, 0], error, right)
    else:
        got, want = bracket_of(age), bracket_of(true_ages[:, 0])
        metrics["bracket_accuracy"] = score(got == want)
        metrics["bracket_within_one"] = score(np.abs(got - want) <= 1)
    return {name: asdict(value) if isinstance(value, Score) else value for name, value in metrics.items()}


def _by_age(ages: NDArray[np.int64], error: NDArray[np.floating], right: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Return the metrics of each of FairFace's brackets that has faces, with the mean error: positive where taken for older."""
    groups = {}
    for place, name in enumerate(BRACKETS):
        some = bracket_of(ages) == place
        if some.any():
            groups[name] = {
                "faces": int(some.sum()),
                "gender_accuracy": float(right[some].mean()),
                "age_mae_years": float(np.abs(error[some]).mean()),
                "age_bias_years": float(error[some].mean()),
            }
    return groups


def bracket_of(age: NDArray[np.floating] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of FairFace's bracket that each age, rounded to whole years, falls into."""
    starts = [low for low, _ in BRACKETS.values()]
    return np.searchsorted(starts, np.round(age), side="right") - 1
