"""A small grey network at 64 pixels: three convolutions that both answers share, then a branch for each."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from framehook_plugins.agegender.outputs import GenderLogit, Outputs
from framehook_trainers.augment import Augmentation, augment
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.design import Design
from framehook_trainers.losses import binary_cross_entropy, masked_mean, squared_error
from framehook_trainers.runs import Run
from framehook_trainers.schedules import InverseDecay
from framehook_trainers.settings import BatchSize, DataSets, EarlyStopping, NonNegative, Positive, Seed, Watched
from framehook_trainers.targets import age_value, exact_ages
from framehook_trainers.train import Learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    epochs: PositiveInt = 40
    """Passes over the training faces, unless `watched` gets no better for `patience` of them."""
    patience: NonNegativeInt = 8
    watched: Watched = "gender.accuracy"
    """This and `patience` are as `EarlyStopping` says, but on by default."""
    batch: BatchSize = 64
    """Faces a step."""
    datasets: DataSets = ("utkface",)
    """The sets to train on."""
    rate: Positive = 1e-3
    """The first learning rate, of Adam."""
    decay: NonNegative = 0.05
    """The rate falls as 1 / (1 + decay · epoch)."""
    dropout: float = 0.25
    """After the convolutions."""
    branch_dropout: float = 0.5
    """Within each branch."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder."""
    torch.manual_seed(config.seed)
    faces = run.training_faces(config.datasets)
    years = age_value(faces, datasets=config.datasets)
    design = Design(
        architecture="twobranch",
        options={"dropout": config.dropout, "branch_dropout": config.branch_dropout},
        input_size=64,
        outputs=Outputs(age=years, gender=GenderLogit()),
        colour="grey",
        mean=(0.46,),
        std=(0.25,),
    )
    normalise = design.normalisation(run.world.device)
    augmentation = Augmentation(rotation_degrees=10, scale=(0.92, 1.1), shift=0.05, spoil_share=0.0, erase_share=0.0)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return augment(pixels, augmentation, covers=faces.geometry.size, size=design.input_size, generator=generator)

    batches = Batches(faces, size=config.batch, seed=config.seed, world=run.world, datasets=config.datasets, views=views)
    learning = Learning(
        epochs=config.epochs,
        schedule=InverseDecay(start=config.rate, steps_per_epoch=batches.steps_per_epoch, decay=config.decay),
        optimizer="adam",
        weight_decay=0.0,
        compile=run.compile,
        seed=config.seed,
        watch=config.watch,
    )

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        exact = exact_ages(batch.ages)
        age = squared_error(ages[:, 0], (exact - years.offset) / years.scale)
        gender = binary_cross_entropy(genders[:, 0], batch.female)
        return {"age": masked_mean(age, exact >= 0), "gender": masked_mean(gender, batch.female >= 0)}

    network = run.learn(design.network(), batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=config.datasets)
