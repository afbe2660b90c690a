"""What labels ask of outputs: classes of ages, and the scale of an age that is one number."""

from collections.abc import Sequence

import torch
from torch import Tensor

from framehook import UsageError
from framehook_plugins.agegender.outputs import AgeValue
from framehook_trainers.datasets.faces import Faces


def age_classes(ages: Tensor, brackets: Sequence[tuple[int, int]]) -> Tensor:
    """Return the bracket that holds all that each label allows, (n,); -1 where none does, or the age is unknown.

    Args:
        ages: (n, 2) youngest and oldest year; -1 where unknown.
        brackets: first and last year of each, one after the other; the last one has no end.
    """
    starts = torch.tensor([low for low, _ in brackets], device=ages.device)
    low, high = (torch.searchsorted(starts, ends.contiguous(), right=True) - 1 for ends in ages.unbind(dim=1))
    return torch.where(low == high, low, -1)


def exact_ages(ages: Tensor) -> Tensor:
    """Return the age of each label that is exact, (n,); -1 of the others.

    Args:
        ages: (n, 2) youngest and oldest year; -1 where unknown.
    """
    low, high = ages.unbind(dim=1)
    return torch.where(low == high, low, -1)


def age_value(faces: Faces, *, datasets: Sequence[str]) -> AgeValue:
    """Return an age output whose numbers have mean 0 and standard deviation 1 on the exact ages of these sets.

    Raises:
        UsageError: there are none.
    """
    exact = (faces.ages[:, 0] >= 0) & (faces.ages[:, 0] == faces.ages[:, 1])
    ages = faces.ages[exact & [name in datasets for name in faces.datasets.tolist()], 0]
    if not len(ages):
        raise UsageError(f"no face of {', '.join(datasets)} has an exact age, which this recipe needs: prepare a set that has")
    spread = max(float(ages.std()), 1.0)
    return AgeValue(offset=float(ages.mean()), scale=spread, std=spread)
