"""What is kept of each epoch: a line of `log.jsonl`, and scalars for TensorBoard where it is installed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from framehook import OutputError

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How an epoch went."""

    epoch: int
    """Its number, from 1."""
    step: int
    """Steps taken until its end, since the beginning."""
    seconds: float
    """What its steps took, without the validation."""
    images_per_second: float
    """Of those seconds, over all processes."""
    rate: float
    """The last learning rate."""
    losses: Mapping[str, float]
    """The mean of each."""
    validation: Mapping[str, float]
    """What was measured at its end."""
    best: bool
    """Whether its weights are the best so far, by a value that is watched."""

    def __str__(self) -> str:
        values = {**self.losses, **self.validation}
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return (
            f"epoch {self.epoch}, step {self.step}, {self.images_per_second:.0f} images/s, {told}{' (best)' if self.best else ''}"
        )


class EpochLog:
    """Write down epochs; lines of steps that a resumption takes again are dropped.

    Args:
        folder: of the run.
        step: steps that were taken.
        tensorboard: write scalars too; where it is not installed a line says what brings it.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._path = folder / LOG
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            self._write("".join(line for line in lines if _step_of(line) <= step), mode="w")
        self._writer = _tensorboard_writer(folder / TENSORBOARD, step=step) if tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, epoch: Epoch) -> None:
        """Write an epoch down.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write(json.dumps(asdict(epoch)) + "\n", mode="a")
        if self._writer is None:
            return
        scalars = {"rate": epoch.rate, "images_per_second": epoch.images_per_second}
        scalars |= {f"losses/{name}": value for name, value in epoch.losses.items()}
        scalars |= {f"validation/{name}": value for name, value in epoch.validation.items()}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch.step)
        self._writer.flush()

    def _write(self, text: str, *, mode: str) -> None:
        try:
            with self._path.open(mode, encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise OutputError(f"'{self._path}' cannot be written: {error.strerror}; make room, and resume the run") from error


def _step_of(line: str) -> float:
    """Return the step that a line tells of; a line that was cut off tells of none that was reached."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _tensorboard_writer(folder: Path, *, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        click.echo("no scalars for TensorBoard: it is not installed; get it with pip install 'framehook[train]'", err=True)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
