"""Separable convolutions with one trunk: five age classes at 198 pixels, or an age in years at 180."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from framehook import UsageError
from framehook_plugins.agegender.networks.separable import OUTPUTS
from framehook_plugins.agegender.outputs import AgeClasses, AgeValue, GenderSoftmax, Outputs
from framehook_trainers.augment import Augmentation, augment
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.design import Design
from framehook_trainers.losses import absolute_error, cross_entropy, masked_mean
from framehook_trainers.runs import Run
from framehook_trainers.schedules import Halving, Phases
from framehook_trainers.settings import SMALLEST, BatchSize, DataSets, EarlyStopping, Positive, Seed, refuse_idle
from framehook_trainers.targets import age_classes, age_value, exact_ages, gender_classes
from framehook_trainers.train import Learning

_CLASSES = Augmentation(rotation_degrees=10, shift=0.05, spoil_share=0.0, erase_share=0.0)
_YEARS = Augmentation(
    rotation_degrees=30,
    brightness=(0.6, 1.4),
    contrast=(1.0, 1.0),
    offset_levels=0.0,
    white_balance=0.0,
    grey_share=0.0,
    shift=0.2,
    scale=(0.5, 1.5),
    spoil_share=0.0,
    erase_share=0.0,
)
"""What the literature asks of the variant in years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    variant: Literal["classes", "years"] = "classes"
    """`classes`: five, at 198 pixels; `years`: one number, at 180 pixels, of faces within `ages`."""
    ages: tuple[int, int] = (21, 75)
    """Youngest and oldest face of the variant in years; others teach gender alone."""
    epochs: PositiveInt = 22
    """Passes over the training faces of each of the two phases."""
    batch: BatchSize = 64
    """Faces a step."""
    datasets: DataSets = ("utkface",)
    """The sets to train on."""
    input_size: NonNegativeInt = 0
    """Pixels of the input's sides; 0: the variant's own."""
    width: int = 32
    """Channels of the first convolution."""
    dropout: float = 0.2
    """Share of the channels that training hides."""
    rate: Positive = 0.008
    """The first learning rate, of Adam."""
    restart_rate: Positive = 0.002
    """The first rate of the second phase."""
    halve_every: PositiveInt = 5
    """Epochs from one halving of the rate to the next."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""

    def __post_init__(self) -> None:
        EarlyStopping.__post_init__(self)
        if self.variant != "years":
            refuse_idle(self, "ages", without="variant=years")
        if 0 < self.input_size < SMALLEST:
            raise UsageError(f"input_size must be 0, the variant's own, or at least {SMALLEST}, got {self.input_size}")


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder."""
    torch.manual_seed(config.seed)
    faces = run.training_faces(config.datasets)
    years = config.variant == "years"
    age = age_value(faces, datasets=config.datasets, ages=config.ages) if years else OUTPUTS.age
    augmentation = _YEARS if years else _CLASSES
    design = Design(
        architecture="separable",
        options={"width": config.width, "dropout": config.dropout},
        input_size=config.input_size or (180 if years else 198),
        outputs=Outputs(age=age, gender=GenderSoftmax()),
        ages=config.ages if years else None,
    )
    normalise = design.normalisation(run.world.device)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return augment(pixels, augmentation, covers=faces.geometry.size, size=design.input_size, generator=generator)

    batches = Batches(faces, size=config.batch, seed=config.seed, world=run.world, datasets=config.datasets, views=views)
    steps = batches.steps_per_epoch
    first = Halving(start=config.rate, steps_per_epoch=steps, every_epochs=config.halve_every)
    second = Halving(start=config.restart_rate, steps_per_epoch=steps, every_epochs=config.halve_every)
    learning = Learning(
        epochs=2 * config.epochs,
        schedule=Phases(phases=((config.epochs * steps, first), (config.epochs * steps, second))),
        optimizer="adam",
        weight_decay=0.0,
        compile=run.compile,
        seed=config.seed,
        watch=config.watch,
    )

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        gender = cross_entropy(genders, gender_classes(batch.female))
        return {
            "age": _age_loss(ages, batch.ages, age, config),
            "gender": masked_mean(gender, batch.female >= 0),
        }

    network = run.learn(design.network(), batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=config.datasets)


def _age_loss(outputs: Tensor, ages: Tensor, layout: object, config: Config) -> Tensor:
    if isinstance(layout, AgeValue):
        exact = exact_ages(ages)
        known = (exact >= config.ages[0]) & (exact <= config.ages[1])
        return masked_mean(absolute_error(outputs[:, 0], (exact - layout.offset) / layout.scale), known)
    assert isinstance(layout, AgeClasses)
    classes = age_classes(ages, layout.brackets)
    return masked_mean(cross_entropy(outputs, classes), classes >= 0)
