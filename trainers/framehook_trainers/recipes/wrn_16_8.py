"""Wide ResNet 16-8 at 64 pixels: a softmax over 101 ages, whose expectation is the age, and one over the two genders."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from framehook_plugins.agegender.outputs import AgeDistribution, GenderSoftmax, Outputs
from framehook_trainers.augment import Augmentation, augment
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.design import Design
from framehook_trainers.losses import cross_entropy, masked_mean
from framehook_trainers.runs import Run
from framehook_trainers.schedules import StepDecay
from framehook_trainers.settings import BatchSize, DataSets, EarlyStopping, NonNegative, Positive, Seed
from framehook_trainers.targets import exact_ages, gender_classes
from framehook_trainers.train import Learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    epochs: PositiveInt = 40
    """Passes over the training faces."""
    batch: BatchSize = 128
    """Faces a step."""
    datasets: DataSets = ("utkface",)
    """The sets to train on; where an age is a bracket only the gender counts."""
    depth: int = 16
    """Convolutions on the longest way through."""
    width: int = 8
    """How many times wider than a plain residual network."""
    dropout: float = 0.0
    """Between the convolutions of a block."""
    rate: Positive = 0.003
    """The first learning rate, of SGD with Nesterov's momentum. The dense layers take in the whole last map: at the paper's 0.1,
    for a network that ends in an average, three epochs on UTKFace taught nothing (tried at a quarter of the width)."""
    falls_at: tuple[int, ...] = (15, 25, 33)
    """Epochs at which the rate falls to a fifth."""
    weight_decay: NonNegative = 5e-4
    """The paper's."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder."""
    torch.manual_seed(config.seed)
    faces = run.training_faces(config.datasets)
    design = Design(
        architecture="wide-resnet",
        options={"depth": config.depth, "width": config.width, "dropout": config.dropout},
        input_size=64,
        outputs=Outputs(age=AgeDistribution(), gender=GenderSoftmax()),
    )
    normalise = design.normalisation(run.world.device)
    augmentation = Augmentation(spoil_share=0.0)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return augment(pixels, augmentation, covers=faces.geometry.size, size=design.input_size, generator=generator)

    batches = Batches(faces, size=config.batch, seed=config.seed, world=run.world, datasets=config.datasets, views=views)
    learning = Learning(
        epochs=config.epochs,
        schedule=StepDecay(start=config.rate, steps_per_epoch=batches.steps_per_epoch, milestones=config.falls_at, factor=0.2),
        optimizer="sgd",
        weight_decay=config.weight_decay,
        compile=run.compile,
        seed=config.seed,
        watch=config.watch,
    )

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        exact = exact_ages(batch.ages).clamp(max=ages.shape[1] - 1)
        age = cross_entropy(ages, exact)
        gender = cross_entropy(genders, gender_classes(batch.female))
        return {"age": masked_mean(age, exact >= 0), "gender": masked_mean(gender, batch.female >= 0)}

    network = run.learn(design.network(), batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=config.datasets)
