"""VGG-16 at 224 pixels: age classes and gender by cross-entropy, and a term that knows that the classes have an order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from framehook_plugins.agegender.outputs import AgeClasses, GenderSoftmax, Outputs
from framehook_trainers.augment import Augmentation, augment
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.datasets.fairface import BRACKETS
from framehook_trainers.design import Design
from framehook_trainers.losses import cross_entropy, expected_value_error, masked_mean, weighted_kappa
from framehook_trainers.runs import Run
from framehook_trainers.schedules import StepDecay
from framehook_trainers.settings import BatchSize, DataSets, EarlyStopping, NonNegative, Positive, Seed, Side, refuse_idle
from framehook_trainers.targets import age_classes, gender_classes
from framehook_trainers.train import Learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    ordinal: Literal["expected-value", "kappa", "none"] = "expected-value"
    """The ordinal term: squared error of the expected class, quadratic weighted kappa, or none."""
    ordinal_weight: NonNegative = 0.2
    """Its weight beside the cross-entropy."""
    epochs: PositiveInt = 30
    """Passes over the training faces."""
    batch: BatchSize = 64
    """Faces a step."""
    datasets: DataSets = ("utkface", "fairface")
    """The sets to train on."""
    input_size: Side = 224
    """Pixels of the input's sides."""
    dense_width: int = 1024
    """Units of the two dense layers; the paper's 4096 make a file of 270 MB."""
    dropout: float = 0.5
    """After each dense layer."""
    rate: Positive = 0.001
    """The first learning rate, of SGD with Nesterov's momentum. At the paper's 0.01, for a network that does not normalise,
    three epochs on UTKFace taught next to nothing of the gender (tried at 64 pixels)."""
    falls_at: tuple[int, ...] = (15, 24)
    """Epochs at which the rate falls to a tenth."""
    weight_decay: NonNegative = 5e-4
    """The paper's."""
    clip_norm: Positive = 5.0
    """Longest gradient: the kappa of a batch can jump."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""

    def __post_init__(self) -> None:
        EarlyStopping.__post_init__(self)
        if self.ordinal == "none":
            refuse_idle(self, "ordinal_weight", without="an ordinal term")


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder."""
    torch.manual_seed(config.seed)
    faces = run.training_faces(config.datasets)
    brackets = tuple(BRACKETS.values())
    design = Design(
        architecture="vgg16",
        options={"width": config.dense_width, "dropout": config.dropout},
        input_size=config.input_size,
        outputs=Outputs(age=AgeClasses(brackets=brackets), gender=GenderSoftmax()),
    )
    normalise = design.normalisation(run.world.device)
    places = torch.arange(len(brackets), device=run.world.device)
    augmentation = Augmentation(spoil_share=0.1, erase_share=0.1)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return augment(pixels, augmentation, covers=faces.geometry.size, size=config.input_size, generator=generator)

    batches = Batches(faces, size=config.batch, seed=config.seed, world=run.world, datasets=config.datasets, views=views)
    learning = Learning(
        epochs=config.epochs,
        schedule=StepDecay(start=config.rate, steps_per_epoch=batches.steps_per_epoch, milestones=config.falls_at),
        optimizer="sgd",
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        compile=run.compile,
        seed=config.seed,
        watch=config.watch,
    )

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        classes = age_classes(batch.ages, brackets)
        known = classes >= 0
        gender = cross_entropy(genders, gender_classes(batch.female))
        found = {
            "age": masked_mean(cross_entropy(ages, classes), known),
            "gender": masked_mean(gender, batch.female >= 0),
        }
        if config.ordinal == "expected-value":
            error = expected_value_error(ages, classes, values=places)
            found["ordinal"] = config.ordinal_weight * masked_mean(error, known)
        elif config.ordinal == "kappa":
            found["ordinal"] = config.ordinal_weight * weighted_kappa(ages, classes, known)
        return found

    network = run.learn(design.network(), batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=config.datasets)
