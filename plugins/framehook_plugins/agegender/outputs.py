"""What a network's outputs mean: a record that stands in the weights file, and the ages and genders that follow from it."""

from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

OLDEST = 150
"""The last year that an output may stand for."""


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AgeDistribution(_Layout):
    """One logit for each whole year; softmax makes a distribution of them.

    Source: Rothe, Timofte and Van Gool, "DEX: Deep EXpectation of apparent age from a single image" (ICCVW 2015).
    """

    kind: Literal["distribution"] = "distribution"
    first: int = Field(default=0, ge=0)
    """The year of the first logit."""
    last: int = Field(default=100, le=OLDEST)
    """The year of the last logit."""

    @model_validator(mode="after")
    def _check(self) -> "AgeDistribution":
        if self.last <= self.first:
            raise ValueError(f"want the last year above the first, got {self.first} to {self.last}")
        return self

    @property
    def size(self) -> int:
        """How many outputs it has."""
        return self.last - self.first + 1

    @property
    def brackets(self) -> tuple[tuple[int, int], ...]:
        """First and last year of each logit: the same."""
        return tuple((year, year) for year in range(self.first, self.last + 1))


class AgeClasses(_Layout):
    """One logit for each bracket of years; softmax makes a distribution of them."""

    kind: Literal["classes"] = "classes"
    brackets: tuple[tuple[int, int], ...] = Field(min_length=2)
    """First and last year of each, every one beginning a year after the one before. Whoever is older than the last end belongs
    to the last bracket all the same; its end only says where its middle lies."""

    @model_validator(mode="after")
    def _check(self) -> "AgeClasses":
        expected = self.brackets[0][0]
        for low, high in self.brackets:
            if not 0 <= low <= high <= OLDEST or low != expected:
                raise ValueError(f"want brackets that follow one another within 0 to {OLDEST}, got {low} to {high}")
            expected = high + 1
        return self

    @property
    def size(self) -> int:
        """How many outputs it has."""
        return len(self.brackets)


class AgeValue(_Layout):
    """One number: the age is offset + scale * output.

    With the mean and the standard deviation of the training ages as offset and scale the output stays near 0, where bfloat16
    is fine enough.
    """

    size: ClassVar[int] = 1

    kind: Literal["value"] = "value"
    offset: float = 0.0
    """Years."""
    scale: float = Field(default=1.0, gt=0)
    """Years."""
    std: float = Field(ge=0)
    """Years: the root mean square error on the validation split, which the network cannot tell of a single face."""


class GenderLogit(_Layout):
    """One logit: the log-odds of female."""

    size: ClassVar[int] = 1

    kind: Literal["logit"] = "logit"


class GenderSoftmax(_Layout):
    """Two logits: female, male."""

    size: ClassVar[int] = 2

    kind: Literal["softmax"] = "softmax"


Age: TypeAlias = AgeDistribution | AgeClasses | AgeValue
Gender: TypeAlias = GenderLogit | GenderSoftmax


class Outputs(_Layout):
    """What the two heads of a network mean."""

    age: Annotated[Age, Field(discriminator="kind")]
    """The layout of the age head."""
    gender: Annotated[Gender, Field(discriminator="kind")]
    """The layout of the gender head."""
    gender_temperature: float = Field(default=1.0, gt=0)
    """The gender logits are divided by it, so that the probability is as often right as it says.

    Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017), temperature scaling.
    """


class Prediction(NamedTuple):
    """What a network says of n faces, before it is decoded."""

    age: Tensor
    """(n, outputs.age.size)."""
    gender: Tensor
    """(n, outputs.gender.size)."""


class Decoded(NamedTuple):
    """The ages and genders of n faces, float32."""

    age: Tensor
    """(n,) years, 0 or more."""
    age_std: Tensor
    """(n,) years: the standard deviation."""
    female: Tensor
    """(n,) probability."""


class Decoder(nn.Module):
    """Turn predictions into ages and genders; what it computes with lies on its device, ready for every batch.

    Args:
        outputs: what the predictions mean.
    """

    middles: Tensor  # (age.size,) years
    variances: Tensor  # (age.size,) years², of the years within each bracket

    def __init__(self, outputs: Outputs) -> None:
        super().__init__()
        self._outputs = outputs
        brackets = () if isinstance(outputs.age, AgeValue) else outputs.age.brackets
        ends = torch.tensor(brackets, dtype=torch.float32).reshape(-1, 2)
        years = ends[:, 1] - ends[:, 0] + 1
        self.register_buffer("middles", ends.mean(dim=1))
        self.register_buffer("variances", (years**2 - 1) / 12)  # of a uniform distribution over so many whole years

    def forward(self, prediction: Prediction) -> Decoded:
        """Return the ages and genders of a prediction on the same device."""
        age, age_std = self._decode_age(prediction.age.float())
        return Decoded(age.clamp(min=0), age_std, self._decode_female(prediction.gender.float()))

    def _decode_age(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        layout = self._outputs.age
        if isinstance(layout, AgeValue):
            age = layout.offset + layout.scale * outputs[:, 0]
            return age, torch.full_like(age, layout.std)
        # Sums of products, not matrix products: those would be rounded to bfloat16 where the caller computes in it.
        probabilities = outputs.softmax(dim=1)
        mean = (probabilities * self.middles).sum(dim=1)
        variance = (probabilities * ((self.middles - mean[:, None]) ** 2 + self.variances)).sum(dim=1)
        return mean, variance.sqrt()

    def _decode_female(self, outputs: Tensor) -> Tensor:
        logits = outputs / self._outputs.gender_temperature
        if isinstance(self._outputs.gender, GenderLogit):
            return logits[:, 0].sigmoid()
        return logits.softmax(dim=1)[:, 0]


def decode(prediction: Prediction, outputs: Outputs) -> Decoded:
    """Return the ages and genders of one prediction; for many batches keep a `Decoder`.

    The age is the mean of the distribution over years, a bracket counting as all its years alike, and its standard deviation.
    """
    decoder: Decoder = Decoder(outputs).to(prediction.age.device)
    return decoder(prediction)  # type: ignore[no-any-return]  # calling a module is untyped
