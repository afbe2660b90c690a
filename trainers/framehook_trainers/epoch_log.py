"""What is kept of each epoch: a line of `log.jsonl`, and scalars for TensorBoard where it is installed."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from framehook import OutputError, RunError
from framehook_plugins.whole import whole_file

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
        RunError: it is damaged.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._path = folder / LOG
        lines = read_lines(folder)
        if (kept := [line for line in lines if _step_of(line) <= step]) != lines:
            with self._errors(), whole_file(self._path) as part:
                part.write_text("".join(kept), encoding="utf-8")
        self._writer = _tensorboard_writer(folder / TENSORBOARD, step=step) if tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._without_scalars():
            if self._writer is not None:
                self._writer.close()

    def write(self, epoch: Epoch) -> None:
        """Write an epoch down.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._errors(), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(epoch)) + "\n")

    def plot(self, epoch: Epoch) -> None:
        """Write an epoch's scalars; where that fails a line says so, and no more are written."""
        with self._without_scalars():
            self._plot(epoch)

    def _plot(self, epoch: Epoch) -> None:
        if self._writer is None:
            return
        scalars = {"rate": epoch.rate, "images_per_second": epoch.images_per_second}
        scalars |= {f"losses/{name}": value for name, value in epoch.losses.items()}
        scalars |= {f"validation/{name}": value for name, value in epoch.validation.items()}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch.step)
        self._writer.flush()

    @contextmanager
    def _without_scalars(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _tell_of_no_scalars(error)
            self._writer = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"'{self._path}' cannot be written: {error.strerror}; make room, and resume the run") from error


def read_lines(folder: Path) -> list[str]:
    """Return the lines of a folder's log, each with its end; none where there is no log.

    Raises:
        RunError: it is damaged.
    """
    path = folder / LOG
    try:
        if not path.is_file() and not path.is_dir():
            return []
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' cannot be read as a log ({error}): remove it, and go on with --resume") from error


def epochs_in(folder: Path) -> int:
    """Return how many epochs a folder's log tells of.

    Raises:
        RunError: it is damaged.
    """
    return sum(bool(line.strip()) for line in read_lines(folder))


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
    try:
        return SummaryWriter(str(folder), purge_step=step + 1)
    except OSError as error:
        _tell_of_no_scalars(error)
        return None


def _tell_of_no_scalars(error: OSError) -> None:
    click.echo(f"no more scalars for TensorBoard: they cannot be written ({error}); the run goes on", err=True)
