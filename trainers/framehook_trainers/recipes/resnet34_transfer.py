"""ResNet-34, first trained on FairFace (gender, nine age brackets), then with new heads on UTKFace (gender, age in years)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from framehook_plugins.agegender.networks import Network
from framehook_plugins.agegender.outputs import AgeClasses, GenderLogit, Outputs
from framehook_trainers.augment import Augmentation, augment
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.datasets.fairface import BRACKETS
from framehook_trainers.design import Design
from framehook_trainers.losses import absolute_error, binary_cross_entropy, cross_entropy, masked_mean, squared_error
from framehook_trainers.runs import Run
from framehook_trainers.schedules import OneCycle
from framehook_trainers.settings import BatchSize, EarlyStopping, Positive, Seed, Side
from framehook_trainers.targets import age_classes, age_value, exact_ages
from framehook_trainers.train import Learning

_FIRST, _SECOND = "fairface", "utkface"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    first_epochs: PositiveInt = 20
    """Passes over FairFace."""
    epochs: PositiveInt = 20
    """Passes over UTKFace."""
    batch: BatchSize = 128
    """Faces a step."""
    age_error: Literal["mse", "mae"] = "mae"
    """What the age in years minimises: the squared or the absolute error."""
    width: int = 64
    """Channels of the network's first stage."""
    dropout: float = 0.2
    """Before the heads."""
    input_size: Side = 112
    """Pixels of the input's sides."""
    first_rate: Positive = 2e-3
    """The highest learning rate on FairFace, of Adam."""
    rate: Positive = 5e-4
    """The highest learning rate on UTKFace, of Adam."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder; what FairFace taught lies in its folder `fairface`."""
    torch.manual_seed(config.seed)
    run.training_faces((_FIRST,))
    faces = run.training_faces((_SECOND,))  # what the second phase lacks is missed before the first one
    years = age_value(faces, datasets=(_SECOND,))
    pretrained = _learn_brackets(config, run)
    design = replace(_design(config), outputs=Outputs(age=years, gender=GenderLogit()))
    network = design.network()
    body = {name: tensor for name, tensor in pretrained.state_dict().items() if not name.startswith(("age.", "gender."))}
    network.load_state_dict(network.state_dict() | body)
    normalise = design.normalisation(run.world.device)
    error_of = squared_error if config.age_error == "mse" else absolute_error

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        exact = exact_ages(batch.ages)
        age = error_of(ages[:, 0], (exact - years.offset) / years.scale)
        gender = binary_cross_entropy(genders[:, 0], batch.female)
        return {"age": masked_mean(age, exact >= 0), "gender": masked_mean(gender, batch.female >= 0)}

    batches = _batches(config, run, _SECOND)
    learning = _learning(config, run, steps_per_epoch=batches.steps_per_epoch, epochs=config.epochs, rate=config.rate)
    learning = replace(learning, watch=config.watch)
    network = run.learn(network, batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=(_SECOND, _FIRST), before=(_FIRST,))


def _learn_brackets(config: Config, run: Run) -> Network:
    """Return the network that FairFace taught; one that has finished is read from its checkpoint."""
    design = _design(config)
    assert isinstance(design.outputs.age, AgeClasses)
    brackets = design.outputs.age.brackets
    normalise = design.normalisation(run.world.device)

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        ages, genders = network(normalise(batch.pixels))
        classes = age_classes(batch.ages, brackets)
        gender = binary_cross_entropy(genders[:, 0], batch.female)
        return {
            "age": masked_mean(cross_entropy(ages, classes), classes >= 0),
            "gender": masked_mean(gender, batch.female >= 0),
        }

    batches = _batches(config, run, _FIRST)
    learning = _learning(config, run, steps_per_epoch=batches.steps_per_epoch, epochs=config.first_epochs, rate=config.first_rate)
    return run.learn(design.network(), batches, losses, learning=learning, folder=run.folder / _FIRST)


def _design(config: Config) -> Design:
    return Design(
        architecture="resnet34",
        options={"width": config.width, "dropout": config.dropout},
        input_size=config.input_size,
        outputs=Outputs(age=AgeClasses(brackets=tuple(BRACKETS.values())), gender=GenderLogit()),
    )


def _batches(config: Config, run: Run, dataset: str) -> Batches:
    faces = run.split("train")
    augmentation = Augmentation(spoil_share=0.1, erase_share=0.1)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return augment(pixels, augmentation, covers=faces.geometry.size, size=config.input_size, generator=generator)

    return Batches(faces, size=config.batch, seed=config.seed, world=run.world, datasets=(dataset,), views=views)


def _learning(config: Config, run: Run, *, steps_per_epoch: int, epochs: int, rate: float) -> Learning:
    return Learning(
        epochs=epochs,
        schedule=OneCycle(peak=rate, steps=epochs * steps_per_epoch),
        optimizer="adam",
        weight_decay=0.0,
        compile=run.compile,
        seed=config.seed,
    )
