"""What the settings of all recipes have in common: early stopping, and the numbers that they may hold."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, NonNegativeInt

from framehook_trainers.early_stopping import Watch

SMALLEST = 32
"""Pixels of a view's sides: some networks halve them five times."""
Side: TypeAlias = Annotated[int, Field(ge=SMALLEST)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
DataSets: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1)]
Watched: TypeAlias = Literal["age.mae", "age.within_5", "age.bracket_accuracy", "gender.accuracy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """The settings of early stopping, which the settings of each recipe begin with."""

    patience: NonNegativeInt = 0
    """Epochs in which `watched` gets no better after which to stop, and to keep the best weights; 0: never, and the last ones."""
    watched: Watched = "age.mae"
    """What patience watches, measured on the validation faces."""

    @property
    def watch(self) -> Watch | None:
        """What the training loop watches."""
        if not self.patience:
            return None
        return Watch(value=self.watched, best="lowest" if self.watched == "age.mae" else "highest", patience=self.patience)
