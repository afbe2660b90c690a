"""The recipes: each is one file that reads from its settings to its weights. `framehook train NAME` runs one."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol, cast

from framehook import UsageError, did_you_mean
from framehook_trainers.runs import Run

RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "framehook": "the network that ships: an age distribution that learns from exact ages and from brackets",
        "resnet34-transfer": "ResNet-34, first on FairFace, then with new heads on UTKFace",
        "separable-multi": "separable convolutions, five age classes or an age in years",
        "twobranch-cnn": "a small grey network with a branch for each answer",
        "vgg16-ordinal": "VGG-16 with an ordinal term for the age classes",
        "wrn-16-8": "a wide residual network with the expectation of 101 ages",
    }
)
"""What each is, by name."""


class Recipe(Protocol):
    """A module of this package."""

    Config: type[Any]
    """Its settings, each with a default: a dataclass."""

    def train(self, config: Any, run: Run) -> None:
        """Train, and leave everything in the run's folder."""


def load(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe '{name}'{did_you_mean(name, RECIPES)} (there are: {', '.join(RECIPES)})")
    return cast(Recipe, import_module(f"{__name__}.{name.replace('-', '_')}"))
