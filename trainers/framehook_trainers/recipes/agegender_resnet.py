"""Train the age and gender network: `python -m framehook_trainers.recipes.agegender_resnet --faces DIR --out DIR`."""

import dataclasses
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framehook import FramehookError, SourceNotFoundError, UsageError
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.model import AGES, AgeGenderNet, age_moments, network_input
from framehook_plugins.device import Device, resolve_device
from framehook_trainers.datasets import fairface, utkface
from framehook_trainers.datasets.augment import augment
from framehook_trainers.datasets.faces import Faces, read_faces
from framehook_trainers.losses import age_loss, gender_loss
from framehook_trainers.metrics import evaluate_predictions
from framehook_trainers.train import CHECKPOINT, Schedule, Trainer

MEAN = (0.5, 0.45, 0.42)
STD = (0.25, 0.25, 0.25)
SETTINGS = "config.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of a run."""

    epochs: int = 18
    """Passes over the training faces."""
    batch: int = 128
    """Faces a step."""
    width: int = 48
    """Channels of the network's first stage."""
    dropout: float = 0.2
    """Before the two heads."""
    small_epochs: int = 8
    """The first of the epochs, in which the views are small: coarse shapes are learnt from half the pixels, at half the cost."""
    small_size: int = 80
    """Pixels of the sides of such a view."""
    calm_epochs: int = 2
    """The last of the epochs, in which fewer views are spoiled: inference mostly sees clear faces."""
    peak_rate: float = 3e-3
    """The highest learning rate."""
    utkface_repeats: int = 2
    """How often an epoch shows each face of UTKFace, whose ages are exact, for once of FairFace's."""
    age_sigma: float = 2.0
    """Years; standard deviation of the Gaussian that an exact age asks for."""
    age_mean_weight: float = 0.05
    """Weight of the mean's L1 error, per year."""
    gender_smoothing: float = 0.05
    """How much the gender labels are doubted."""
    seed: int = 0
    """Of the weights, the order and the augmentation."""


class Batches:
    """The batch of each step, always the same for the same seed.

    Args:
        faces: prepared faces.
        config: batch, repeats and seed count.
    """

    def __init__(self, faces: Faces, config: Config) -> None:
        often = faces.rows(dataset=utkface.NAME, split="train")
        once = faces.rows(dataset=fairface.NAME, split="train")
        self._rows = np.concatenate([*[often] * config.utkface_repeats, once])
        self._faces = faces
        self._config = config
        self.steps_per_epoch = len(self._rows) // config.batch
        if not self.steps_per_epoch:
            raise UsageError(f"{len(self._rows)} training faces do not fill a batch of {config.batch}")

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return pixels (b, 3, size, size), ages (b, 2) and female (b,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(self._rows)
        rows = order[place * self._config.batch : (place + 1) * self._config.batch]
        random = np.random.default_rng([self._config.seed, 1, step])
        covers = self._faces.geometry.size
        size = self._config.small_size if epoch < self._config.small_epochs else covers
        calm = epoch >= self._config.epochs - self._config.calm_epochs
        spoiled, hidden = (0.15, 0.0) if calm else (0.3, 0.15)
        views = np.stack(
            [augment(self._faces.crops[row], random, covers=covers, size=size, spoiled=spoiled, hidden=hidden) for row in rows]
        )
        pixels = network_input(torch.from_numpy(views), mean=MEAN, std=STD)
        return pixels, torch.from_numpy(self._faces.ages[rows]), torch.from_numpy(self._faces.female[rows])


@torch.inference_mode()
def validate(network: AgeGenderNet, faces: Faces, rows: NDArray[np.int64], device: torch.device) -> dict[str, Any]:
    """Return the metrics on these faces, from the middle of their stored crops."""
    ages, female = [], []
    for start in range(0, len(rows), 256):
        pixels = torch.from_numpy(faces.centres(rows[start : start + 256])).to(device)
        prediction = network(network_input(pixels, mean=MEAN, std=STD))
        ages.append(age_moments(prediction.age_logits.softmax(dim=1))[0].cpu().numpy())
        female.append((prediction.gender_logits > 0).cpu().numpy())
    return evaluate_predictions(
        np.concatenate(ages), np.concatenate(female), true_ages=faces.ages[rows], true_female=faces.female[rows]
    )


def train(faces_folder: Path, out: Path, config: Config, *, device: torch.device, resume: bool) -> None:
    """Train, and leave in `out` the settings, a log line an epoch, the metrics, a checkpoint and the weights file."""
    cv2.setNumThreads(1)  # the pictures are small, and the network needs the cores
    torch.manual_seed(config.seed)
    faces = read_faces(faces_folder)
    batches = Batches(faces, config)
    schedule = Schedule(
        steps=config.epochs * batches.steps_per_epoch,
        steps_per_epoch=batches.steps_per_epoch,
        peak_rate=config.peak_rate,
    )
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        check_settings(out, config)
    (out / SETTINGS).write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")
    network = AgeGenderNet(width=config.width, dropout=config.dropout)
    trainer = Trainer(network, schedule=schedule, folder=out, device=device)
    if resume and trainer.resume():
        click.echo(f"resumed at step {trainer.step} of {schedule.steps}")

    def losses(network: AgeGenderNet, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        pixels, ages, female = batch
        prediction = network(pixels)
        age = age_loss(prediction.age_logits, ages, sigma=config.age_sigma, mean_weight=config.age_mean_weight)
        gender = gender_loss(prediction.gender_logits, female, smoothing=config.gender_smoothing)
        return {"age_loss": age.mean(), "gender_loss": gender.mean()}

    def report(epoch: dict[str, Any]) -> None:
        rows = faces.rows(dataset=utkface.NAME, split="validation")
        epoch["validation"] = validate(trainer.averaged, faces, rows, device)
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(epoch) + "\n")
        scores = {
            name: round(epoch["validation"][name]["value"], 4)
            for name in ("gender_accuracy", "age_mae_years", "age_within_5_years")
        }
        click.echo(f"step {epoch['step']} of {schedule.steps}, {epoch['faces_per_second']:.0f} faces/s, {scores}")

    trainer.run(batches, losses, report=report)
    metrics = {
        "utkface validation": validate(trainer.averaged, faces, faces.rows(dataset=utkface.NAME, split="validation"), device),
        "utkface test": validate(trainer.averaged, faces, faces.rows(dataset=utkface.NAME, split="test"), device),
        "fairface test": validate(trainer.averaged, faces, faces.rows(dataset=fairface.NAME, split="test"), device),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    checkpoint.write(out / "model.safetensors", trainer.averaged, describe(config, faces, metrics))


def check_settings(out: Path, config: Config) -> None:
    """Make sure that a run goes on as it began; only its number of epochs may change.

    Raises:
        UsageError: another setting differs.
    """
    begun = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    wanted = dataclasses.asdict(config)
    differ = [
        f"{name} {begun.get(name)}, got {wanted[name]}" for name in wanted if name != "epochs" and begun.get(name) != wanted[name]
    ]
    if differ:
        raise UsageError(f"'{out}' was begun with {'; '.join(differ)}: resume it with the same settings")


def describe(config: Config, faces: Faces, metrics: dict[str, Any]) -> checkpoint.Header:
    """Return the weights file's header."""
    counts = {name: len(faces.rows(dataset=name, split="train")) for name in (utkface.NAME, fairface.NAME)}
    exact = faces.ages[faces.rows(dataset=utkface.NAME, split="train"), 0].clip(max=AGES - 1)
    return checkpoint.Header(
        architecture=checkpoint.ARCHITECTURE,
        width=config.width,
        input_size=faces.geometry.size,
        colour="RGB",
        mean=MEAN,
        std=STD,
        crop_margin=faces.geometry.margin,
        crop_shift=faces.geometry.shift,
        output_ages=(0, AGES - 1),
        output_gender="female",
        age_range=(int(exact.min()), int(exact.max())),
        training_data=f"{counts['utkface']} faces of UTKFace and {counts['fairface']} of FairFace, split by image content",
        licence=f"{utkface.LICENCE}. {fairface.LICENCE}. The weights carry both terms: non-commercial research only.",
        recipe=f"framehook_trainers.recipes.agegender_resnet {json.dumps(dataclasses.asdict(config))}",
        metrics=metrics,
        date=datetime.now(UTC).date().isoformat(),
    )


@click.command()
@click.option("--faces", type=click.Path(path_type=Path), required=True, help="What framehook_trainers.prepare wrote.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the run.")
@click.option("--epochs", type=click.IntRange(1), default=Config().epochs, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=Config().batch, show_default=True)
@click.option("--width", type=click.IntRange(2), default=Config().width, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
def main(faces: Path, out: Path, epochs: int, batch: int, width: int, device: Device, resume: bool) -> None:
    """Train the age and gender network on prepared faces."""
    started = time.monotonic()
    config = Config(epochs=epochs, batch=batch, width=width)
    try:
        if (out / CHECKPOINT).exists() and not resume:
            raise UsageError(f"'{out}' already holds a run: continue it with --resume, or name another --out")
        if resume and not (out / CHECKPOINT).exists():
            raise SourceNotFoundError(f"no '{out / CHECKPOINT}' to resume from")
        train(faces, out, config, device=resolve_device(device), resume=resume)
    except FramehookError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"'{out / 'model.safetensors'}' written after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
