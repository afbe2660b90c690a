"""Ours: a network that tells people apart, or one from scratch, learns ages and genders.

Its age is a distribution, so that exact ages and brackets train together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from framehook_plugins.agegender.classifier import find_weights
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs, Prediction
from framehook_trainers.augment import Augmentation, augment, mixup
from framehook_trainers.batches import Batch, Batches
from framehook_trainers.design import Design
from framehook_trainers.draws import seeded
from framehook_trainers.losses import age_loss, binary_cross_entropy, masked_mean
from framehook_trainers.pretrained import MEAN, STD
from framehook_trainers.runs import Run
from framehook_trainers.schedules import OneCycle
from framehook_trainers.settings import BatchSize, DataSets, EarlyStopping, NonNegative, Positive, Seed, Share, Side, refuse_idle
from framehook_trainers.teaching import Teachers
from framehook_trainers.train import Learning

_MIXING = 1  # tells the draws of mixup from those of the views


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EarlyStopping):
    """Every setting of a run."""

    epochs: PositiveInt = 7
    """Passes over the training faces."""
    batch: BatchSize = 128
    """Faces a step."""
    datasets: DataSets = ("utkface", "fairface")
    """The sets to train on."""
    utkface_repeats: Positive = 2.0
    """How often an epoch shows each face of UTKFace, whose ages are exact, for once of the others'."""
    balance: Share = 0.0
    """0 shows ages as often as they occur, 1 all nine age classes equally often."""
    start: tuple[str, ...] = ()
    """Weights to begin with, bundled names or files of this recipe: their average; none: fresh ones."""
    teachers: tuple[str, ...] = ()
    """Weights whose answer to each view is taught beside its label, bundled names or files: their mean, every second one's of
    the mirror image."""
    taught_share: Share = 0.5
    """How much of the loss is about the teachers' answers, where there are teachers."""
    network: Literal["recognition", "resnet"] = "recognition"
    """`recognition` begins with dlib's face recognition network (extra `pretrained`) where `start` names nothing else; `resnet`
    begins afresh, and is what `blocks`, `width` and `blur` are for."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Of each of the network's four stages; those that the weights to begin with lack change nothing at first."""
    width: int = 48
    """Channels of the network's first stage."""
    dropout: float = 0.2
    """Before the two heads."""
    blur: bool = False
    """Whether the network smooths what a convolution steps over, so that a face moved a little is seen alike."""
    input_size: Side = 150
    """Pixels of the input's sides."""
    small_epochs: NonNegativeInt = 0
    """The first of the epochs, in which the views are small: coarse shapes are learnt from half the pixels, at half the cost.
    Only of `resnet`: the other network has an input of one size."""
    small_size: Side = 80
    """Pixels of the sides of such a view."""
    calm_epochs: NonNegativeInt = 2
    """The last of the epochs, in which fewer views are spoiled: inference mostly sees clear faces."""
    spoil_share: Share = 0.15
    """Share of the views that are spoiled as video spoils faces; half of it in the calm epochs."""
    erase_share: Share = 0.15
    """Share of the views with a covered piece; none in the calm epochs."""
    mixup_alpha: NonNegative = 0.0
    """Faces are blended by a Beta distribution of this parameter; 0: not at all."""
    peak_rate: Positive = 4e-4
    """The highest learning rate; a network that begins afresh learns at 3e-3."""
    weight_decay: NonNegative = 0.05
    """Of AdamW."""
    average: Share = 0.998
    """Share of the averaged weights that a step keeps."""
    age_sigma: Positive = 2.0
    """Years; standard deviation of the Gaussian that an exact age asks for."""
    age_mean_weight: NonNegative = 0.05
    """Weight of the mean's L1 error, per year."""
    gender_smoothing: Share = 0.05
    """How much the gender labels are doubted."""
    seed: Seed = 0
    """Of the weights, the order and the augmentation."""

    def __post_init__(self) -> None:
        EarlyStopping.__post_init__(self)
        if self.network == "recognition":
            refuse_idle(self, "blocks", "width", "blur", "small_epochs", without="network=resnet")
        if not self.small_epochs:
            refuse_idle(self, "small_size", without="small_epochs")
        if not self.teachers:
            refuse_idle(self, "taught_share", without="teachers")
        if "utkface" not in self.datasets:
            refuse_idle(self, "utkface_repeats", without="utkface among the datasets")


def train(config: Config, run: Run) -> None:
    """Train, and leave everything in the run's folder."""
    torch.manual_seed(config.seed)
    faces = run.training_faces(config.datasets)
    recognition = config.network == "recognition"
    layout = (
        {"input_size": config.input_size}
        if recognition
        else {"blocks": config.blocks, "width": config.width, "blur": config.blur}
    )
    design = Design(
        architecture=config.network,
        options={**layout, "dropout": config.dropout},
        input_size=config.input_size,
        outputs=Outputs(age=AgeDistribution(), gender=GenderLogit()),
        starts=tuple(map(find_weights, config.start)),
        teachers=tuple(map(find_weights, config.teachers)),
    )
    if recognition:
        design = replace(design, mean=MEAN, std=STD, pretrained=True)
    teachers = Teachers(design.teachers, age=design.outputs.age, device=run.world.device) if design.teachers else None
    normalise = design.normalisation(run.world.device)

    lively = Augmentation(spoil_share=config.spoil_share, erase_share=config.erase_share)
    calm = replace(lively, spoil_share=config.spoil_share / 2, erase_share=0.0)

    def views(pixels: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        size = config.small_size if epoch < config.small_epochs else config.input_size
        how = calm if epoch >= config.epochs - config.calm_epochs else lively
        return augment(pixels, how, covers=faces.geometry.size, size=size, generator=generator)

    repeats = {"utkface": config.utkface_repeats} if "utkface" in config.datasets else {}
    batches = Batches(
        faces,
        size=config.batch,
        seed=config.seed,
        world=run.world,
        datasets=config.datasets,
        repeats=repeats,
        balance=config.balance,
        views=views,
    )
    learning = Learning(
        epochs=config.epochs,
        schedule=OneCycle(peak=config.peak_rate, steps=config.epochs * batches.steps_per_epoch),
        weight_decay=config.weight_decay,
        average=config.average,
        compile=run.compile,
        seed=config.seed,
        watch=config.watch,
    )

    def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        of_age, of_gender = batch.ages[:, 0] >= 0, batch.female >= 0
        pixels, mixed = batch.pixels, None
        if config.mixup_alpha:
            mixed = mixup(pixels, alpha=config.mixup_alpha, generator=seeded(config.seed, batch.step, run.world.rank, _MIXING))
            pixels = mixed.pixels
        prediction = network(normalise(pixels))
        age, gender = _losses(prediction, batch.ages, batch.female, config)
        if mixed is not None:
            others = _losses(prediction, batch.ages[mixed.partners], batch.female[mixed.partners], config)
            age, gender = (mixed.blend(mine, theirs) for mine, theirs in zip((age, gender), others, strict=True))
            of_age, of_gender = mixed.known(of_age), mixed.known(of_gender)
        labelled = {"age": masked_mean(age, of_age), "gender": masked_mean(gender, of_gender)}
        if teachers is None:
            return labelled
        share = config.taught_share
        return {
            **{name: (1 - share) * loss for name, loss in labelled.items()},
            "taught": share * teachers.loss(prediction, pixels),
        }

    network = run.learn(design.network(), batches, losses, learning=learning, validated_as=design)
    run.finish(network, design, shown=config.datasets)


def _losses(prediction: Prediction, ages: Tensor, female: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Return the losses of ages and genders, (n,) each."""
    logits, gender = prediction
    age = age_loss(logits, ages, sigma=config.age_sigma, mean_weight=config.age_mean_weight)
    return age, binary_cross_entropy(gender[:, 0], female, smoothing=config.gender_smoothing)
