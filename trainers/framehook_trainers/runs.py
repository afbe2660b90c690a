"""The folder of a run: its settings while it goes, and at its end the weights file and all that judges them."""

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from torch import Tensor, nn

from framehook import OutputError, SourceNotFoundError, UsageError
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.outputs import AgeValue
from framehook_plugins.sinks.folders import hold
from framehook_trainers.batches import Batch, Batches, check_present
from framehook_trainers.calibration import fit_temperature
from framehook_trainers.datasets.faces import FACTS, Faces, digest_of, read_faces
from framehook_trainers.datasets.splits import SPLITS, Split
from framehook_trainers.design import Design
from framehook_trainers.distributed import World
from framehook_trainers.epoch_log import LOG, epochs_in, read_lines
from framehook_trainers.metrics import Answers, Labels, measure
from framehook_trainers.progress import Progress, silent
from framehook_trainers.reports import write_run_report, write_text
from framehook_trainers.reports.card import built_on_others
from framehook_trainers.resumption import CHECKPOINT
from framehook_trainers.train import Learning, Trainer

N = TypeVar("N", bound=nn.Module)

SETTINGS, WEIGHTS = "config.toml", "model.safetensors"
_FACES = "faces_digest"
_MAY_CHANGE = "epochs"
_NO_OTHER_SETS = (
    "recipe '{}' knows no other sets: prepare them too, or take a recipe with the setting datasets, such as framehook"
)
_BRIEFLY = ("gender.accuracy", "age.mae", "age.within_5", "age.bracket_accuracy")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a recipe."""

    recipe: str
    """The recipe's name."""
    config: Any
    """Its settings: a dataclass of numbers, words and lists."""
    faces: Path
    """What `framehook prepare` wrote."""
    folder: Path
    """Where the run leaves everything."""
    world: World
    """The processes that train together."""
    resume: bool = False
    """Go on from the checkpoint."""
    compile: str | None = None
    """Backend of `torch.compile`; None: not compiled."""
    quiet: bool = False
    """Print no line for each epoch, nor at the end."""
    progress: Progress = silent
    """Told after each step how many images were seen, and how many there will be."""

    def begin(self) -> None:
        """Make sure that the run may begin, or go on, and write its settings.

        Raises:
            UsageError: the folder holds a run that is not to be resumed, or one of other faces or settings; or a split is empty.
            SourceNotFoundError: there are no faces, or there is no run to resume.
            OutputError: the folder cannot be written, or another process trains there.
        """
        for name in SPLITS:
            self.split(name)  # what the end of the run needs is missed now
        if not self.world.main:
            return
        settings = {"recipe": self.recipe, _FACES: digest_of(self.faces), **dataclasses.asdict(self.config)}
        if self.resume:
            self._check_is_same(settings)
        elif any(any(self.folder.glob(f"**/{name}")) for name in (CHECKPOINT, WEIGHTS)) or any(
            epochs_in(path.parent) for path in self.folder.glob(f"**/{LOG}")
        ):
            raise UsageError(f"'{self.folder}' already holds a run: continue it with --resume, or name another --out")
        elif (self.folder / FACTS).exists():
            raise UsageError(f"'{self.folder}' holds prepared faces, which are no run's: name another --out")
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items() if value is not None]
        try:
            hold(self.folder)  # until this process ends
            if not self.resume or (self.folder / SETTINGS).read_text(encoding="utf-8") != "".join(lines):
                write_text(self.folder / SETTINGS, "".join(lines))
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"'{self.folder}' cannot be written: {error.strerror}; choose another --out") from error

    def _check_is_same(self, wanted: Mapping[str, Any]) -> None:
        """Make sure that a run goes on as it began; only its number of epochs may change.

        The file of an older run lacks what is newer: such a setting has its default there, and the faces are taken on trust.
        """
        try:
            begun = tomllib.loads((self.folder / SETTINGS).read_text(encoding="utf-8"))
            if "recipe" not in begun:  # every run's file begins with it
                raise ValueError("it names no recipe")
        except FileNotFoundError as error:
            raise SourceNotFoundError(f"no '{self.folder / SETTINGS}': there is no run to resume in '{self.folder}'") from error
        except (OSError, ValueError) as error:  # a folder, no text in UTF-8, no TOML
            raise UsageError(f"'{self.folder / SETTINGS}' is damaged ({error}): begin anew with another --out") from error
        if begun.pop(_FACES, wanted[_FACES]) != wanted[_FACES]:
            raise UsageError(
                f"'{self.folder}' was begun with other faces than '{self.faces}' holds: resume it with its own, or begin anew "
                "with another --out"
            )
        old = {field.name: field.default for field in dataclasses.fields(self.config)} | begun
        differ = [
            f"{name} {old.get(name)}, got {value}"
            for name, value in wanted.items()
            if name not in (_FACES, _MAY_CHANGE) and _as_in_file(value) != _as_in_file(old.get(name))
        ]
        if differ:
            raise UsageError(f"'{self.folder}' was begun with {'; '.join(differ)}: resume it with the same settings")

    def split(self, name: Split) -> Faces:
        """Open a split of the prepared faces.

        Raises:
            SourceNotFoundError: a file is missing.
            UsageError: the split is empty, or leaks.
        """
        faces = read_faces(self.faces, split=name)
        if not len(faces):
            raise UsageError(f"the {name} split of '{self.faces}' is empty: prepare more pictures, or larger shares")
        return faces

    def training_faces(self, datasets: Sequence[str]) -> Faces:
        """Open the training split, having made sure that these sets have what a run of them needs to its end.

        Raises:
            SourceNotFoundError: a file is missing.
            UsageError: a set is not there, or no face of them all has an age, or a gender, or is for validation.
        """
        faces, held = self.split("train"), self.split("validation")
        there = ",".join(np.unique(faces.datasets).tolist())
        by_setting = any(field.name == "datasets" for field in dataclasses.fields(self.config))
        advice = f"train on what there is with --set datasets={there}" if by_setting else _NO_OTHER_SETS.format(self.recipe)
        check_present(faces, datasets, advice=advice)
        shown = np.isin(faces.datasets, list(datasets))
        lacking = {
            "training face with an age": not (shown & (faces.ages[:, 0] >= 0)).any(),
            "training face with a gender": not (shown & (faces.female >= 0)).any(),
            "validation face": not np.isin(held.datasets, list(datasets)).any(),
        }
        if missing := [what for what, lacks in lacking.items() if lacks]:
            raise UsageError(
                f"{', '.join(datasets)} in '{self.faces}' has no {' and no '.join(missing)}, which a run needs: prepare more, or "
                "choose other sets"
            )
        return faces

    def say(self, what: object) -> None:
        """Print a line, once however many processes there are; where nobody can read it any more the run goes on."""
        if self.world.main and not self.quiet:
            with suppress(OSError):  # the log and the checkpoint are what counts
                click.echo(str(what))

    def learn(
        self,
        network: N,
        batches: Batches,
        losses_of: Callable[[nn.Module, Batch], Mapping[str, Tensor]],
        *,
        learning: Learning,
        validated_as: Design | None = None,
        folder: Path | None = None,
    ) -> N:
        """Train a network to the end of its epochs, with a line for each, and return it with its averaged weights.

        Args:
            network: as it begins; where the run is resumed its weights are read from the checkpoint.
            batches: of the training split.
            losses_of: as `Trainer.epochs` asks for it.
            learning: how.
            validated_as: what the network is, to measure each epoch on the validation faces of the sets that the batches are of;
                None: not measured.
            folder: where the checkpoint and the log are kept: the run's, or one of its own in it.

        Raises:
            UsageError: those faces do not tell the value that is watched; or the checkpoint of a resumed run is lost.
        """
        folder = folder or self.folder
        if self.world.main:
            folder.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(network, learning=learning, folder=folder, world=self.world)
        if self.resume:
            if not trainer.resume():
                self._check_nothing_is_lost(folder)
            whole = learning.epochs * batches.steps_per_epoch
            self.say(f"resumed at step {trainer.step} of {whole}" if trainer.step else f"'{folder}' begins at step 0 of {whole}")
        held = self.split("validation")
        rows = np.flatnonzero(np.isin(held.datasets, batches.datasets))
        if learning.watch is not None:
            learning.watch.check(_measurable(labels_of(held).take(rows)))

        def validate(network: nn.Module) -> dict[str, float]:
            if validated_as is None:
                return {}
            answers = validated_as.answer(network, held, rows=rows, device=self.world.device, flip=False)
            measured = briefly(measure(answers, labels_of(held).take(rows)))
            return {name: value["value"] for name, value in measured.items()}

        progress = partial(self.progress, f"training {folder.name}") if self.world.main else lambda done, total: None
        for epoch in trainer.epochs(batches, losses_of, validate=validate, progress=progress):
            self.say(epoch)
        return trainer.finish()

    def _check_nothing_is_lost(self, folder: Path) -> None:
        """Raise where a folder without a checkpoint had one: to begin at step 0 would be to write over what was learnt.

        A run that ended while it saved its first epoch has that epoch's line, and no more.
        """
        if (self.folder / WEIGHTS).exists() or epochs_in(folder) > 1:
            raise UsageError(
                f"'{folder}' holds a run without its '{CHECKPOINT}': put that back to resume it, or begin anew with another --out"
            )

    def finish(self, network: nn.Module, design: Design, *, shown: tuple[str, ...], before: tuple[str, ...] = ()) -> None:
        """Calibrate on the validation split, measure on the test split, and write the weights file and the report.

        Args:
            network: trained, in evaluation mode.
            design: what it is.
            shown: the sets that training saw.
            before: the run's folders in which something was learnt first.
        """
        if not self.world.main:
            return
        device = self.world.device
        checkpoint.round_as_stored(network)  # what is measured is what the file holds
        held, tests = self.split("validation"), self.split("test")
        rows = np.concatenate([held.rows(dataset=name) for name in shown])  # the others' terms are not to reach the weights
        calibrating = design.answer(network, held, rows=rows, device=device, flip=True)
        design = calibrated(design, calibrating, labels_of(held).take(rows))
        answers, labels = design.answer(network, tests, device=device, flip=True), labels_of(tests)
        metrics = {
            f"{name} test": briefly(measure(answers.take(rows), labels.take(rows)))
            for name in np.unique(tests.datasets).tolist()
            if len(rows := tests.rows(dataset=name))
        }
        command = f"framehook train {self.recipe}, settings {json.dumps(dataclasses.asdict(self.config))}"
        header = design.header(self.split("train"), shown=shown, recipe=command, metrics=metrics)
        checkpoint.write(self.folder / WEIGHTS, network, header)
        lines = [json.loads(line) for name in (*before, ".") for line in read_lines(self.folder / name)]
        write_run_report(
            self.folder,
            header=header,
            answers=answers,
            labels=labels,
            crops_of=lambda rows: design.seen(tests, rows),
            log=[line | {"epoch": number} for number, line in enumerate(lines, start=1)],
            only_gender=_only_gender(self.split("train"), shown),
        )
        self.say(f"'{self.folder / WEIGHTS}' written; '{self.folder / 'model-card.md'}' says how good it is")
        if built_on_others(header):
            self.say("the weights that it began with, or was taught by, may have seen images of this test split")


def _as_in_file(value: object) -> object:
    """Return a setting as it is read back: a list for a tuple."""
    return list(value) if isinstance(value, tuple) else value


def _measurable(labels: Labels) -> dict[str, dict[str, float]]:
    """Return the main metrics that the labels allow, of answers that mean nothing."""
    blank = np.zeros(len(labels))
    return briefly(measure(Answers(age=blank, age_std=blank, female=blank), labels))


def _only_gender(faces: Faces, shown: Sequence[str]) -> str | None:
    """Return the gender that all faces of these sets have, as far as it is known; None where they have both, or none is known."""
    known = set(faces.female[np.isin(faces.datasets, list(shown))].tolist()) - {-1}
    return ("male", "female")[known.pop()] if len(known) == 1 else None


def labels_of(faces: Faces) -> Labels:
    """Return what is known of prepared faces."""
    return Labels(ages=faces.ages, female=faces.female, races=faces.races)


def briefly(measured: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the main metrics that the labels allow, each with its interval."""
    brief = {}
    for name in _BRIEFLY:
        part, _, metric = name.partition(".")
        if (value := measured[part][metric]) is not None:
            low, high = measured[part][f"{metric}_95"]
            brief[name] = {"value": value, "low": low, "high": high}
    return brief


def calibrated(design: Design, answers: Answers, labels: Labels) -> Design:
    """Return the design with what the validation split says of its uncertainty: the temperature, and an age value's error."""
    outputs = design.outputs
    if len(np.unique(labels.female[labels.female >= 0])) == 2:
        outputs = outputs.model_copy(update={"gender_temperature": fit_temperature(answers.female, labels.female)})
    exact = labels.exact & design.learnt(labels.ages)
    if isinstance(outputs.age, AgeValue) and exact.any():
        error = float(np.sqrt(((answers.age - labels.ages[:, 0])[exact] ** 2).mean()))
        outputs = outputs.model_copy(update={"age": outputs.age.model_copy(update={"std": error})})
    return dataclasses.replace(design, outputs=outputs)
