"""What the settings of all recipes have in common: early stopping, and the values that they may hold."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, NonNegativeInt

from framehook import UsageError
from framehook_trainers.early_stopping import Watch

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SMALLEST = 32
"""Pixels of a view's sides: some networks halve them five times."""
Side: TypeAlias = Annotated[int, Field(ge=SMALLEST)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BatchSize: TypeAlias = Annotated[int, Field(ge=2)]
"""Faces a step: batch normalisation knows no spread of one."""
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
"""What a signed integer of 64 bits holds, as torch's generators take it."""
Watched: TypeAlias = Literal["age.mae", "age.within_5", "age.bracket_accuracy", "gender.accuracy"]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each set is named once")
    return names


DataSets: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]


def refuse_idle(config: "DataclassInstance", *names: str, without: str) -> None:
    """Make sure that settings which would have no effect are as they are by default.

    Args:
        config: the settings.
        names: those without effect.
        without: what they would need, such as `network=resnet`.

    Raises:
        UsageError: one was set.
    """
    defaults = {field.name: field.default for field in fields(config)}
    for name in names:
        if (got := getattr(config, name)) != defaults[name]:
            raise UsageError(f"{name} has no effect without {without}, got {got}: leave it out, or set {without}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """The settings of early stopping, which the settings of each recipe begin with."""

    patience: NonNegativeInt = 0
    """Epochs in which `watched` gets no better after which to stop, and to keep the best weights; 0: never, and the last ones."""
    watched: Watched = "age.mae"
    """What patience watches, measured on the validation faces."""

    def __post_init__(self) -> None:
        # Recipes that check more call this by its class's name: `super()` does not work in a dataclass with slots.
        if not self.patience:
            refuse_idle(self, "watched", without="patience")

    @property
    def watch(self) -> Watch | None:
        """What the training loop watches."""
        if not self.patience:
            return None
        return Watch(value=self.watched, best="lowest" if self.watched == "age.mae" else "highest", patience=self.patience)
