"""What labels ask of outputs: classes of ages, and the scale of an age that is one number."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from framehook import UsageError
from framehook_plugins.agegender.outputs import OLDEST, AgeValue
from framehook_trainers.datasets.faces import Faces
from framehook_trainers.draws import upload


def age_classes(ages: Tensor, brackets: Sequence[tuple[int, int]]) -> Tensor:
    """Return the bracket that holds all that each label allows, (n,); -1 where none does, or the age is unknown.

    Args:
        ages: (n, 2) youngest and oldest year; -1 where unknown.
        brackets: first and last year of each, one after the other; the last one has no end.
    """
    starts = upload(torch.tensor([low for low, _ in brackets]), ages.device)
    low, high = (torch.searchsorted(starts, ends.contiguous(), right=True) - 1 for ends in ages.unbind(dim=1))
    return torch.where(low == high, low, -1)


def exact_ages(ages: Tensor) -> Tensor:
    """Return the age of each label that is exact, (n,); -1 of the others.

    Args:
        ages: (n, 2) youngest and oldest year; -1 where unknown.
    """
    low, high = ages.unbind(dim=1)
    return torch.where(low == high, low, -1)


def gender_classes(female: Tensor) -> Tensor:
    """Return the class of each gender as the outputs have them, (n,): 0 female, 1 male, -1 where it is unknown.

    Args:
        female: (n,) 1, 0, or -1 where unknown.
    """
    return torch.where(female >= 0, 1 - female, -1)


def age_value(faces: Faces, *, datasets: Sequence[str], ages: tuple[int, int] = (0, OLDEST)) -> AgeValue:
    """Return an age output whose numbers have mean 0 and standard deviation 1 on the exact ages of these sets.

    Args:
        faces: of the training split.
        datasets: the sets that are shown.
        ages: youngest and oldest year to learn from.

    Raises:
        UsageError: there are none.
    """
    low, high = faces.ages.T
    learnt = (low == high) & (low >= ages[0]) & (low <= ages[1]) & np.isin(faces.datasets, list(datasets))
    years = faces.ages[learnt, 0]
    if not len(years):
        raise UsageError(
            f"no training face of {', '.join(datasets)} has an exact age within {ages[0]} to {ages[1]}, which this recipe needs: "
            "prepare a set that has"
        )
    spread = max(float(years.std()), 1.0)
    return AgeValue(offset=float(years.mean()), scale=spread, std=spread)
