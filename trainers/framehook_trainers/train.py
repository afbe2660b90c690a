"""The training loop: bfloat16, averaged weights, early stopping, one process or several, resumable to the step."""

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from framehook import ModelError, RunError, UsageError
from framehook_trainers.batches import prefetched
from framehook_trainers.distributed import World
from framehook_trainers.draws import seeded
from framehook_trainers.early_stopping import Best, Watch
from framehook_trainers.epoch_log import Epoch, EpochLog
from framehook_trainers.interrupts import deferred_interrupt
from framehook_trainers.resumption import CHECKPOINT, damaged_checkpoint, read_state, write_state
from framehook_trainers.schedules import Schedule

Network = TypeVar("Network", bound=nn.Module)
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)

_LOOK_EVERY = 100  # steps; to look at a value waits for the device


class BatchSource(Protocol[B_co]):
    """Where batches come from; `framehook_trainers.batches.Batches` is one."""

    size: int
    """Images of a batch, over all processes."""
    steps_per_epoch: int
    """Batches of an epoch."""

    def __call__(self, step: int) -> B_co:
        """Return this process's share of the batch of a step: the same one each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How to learn."""

    epochs: int
    """Passes over the training images, unless `watch` stops earlier."""
    schedule: Schedule
    """The learning rate of each step."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """SGD is with Nesterov's momentum."""
    weight_decay: float = 0.05
    """Of matrices and filters; vectors (norms, biases) are left alone."""
    momentum: float = 0.9
    """Of SGD."""
    clip_norm: float | None = None
    """The gradient is scaled down to this norm where it is longer."""
    average: float = 0.998
    """Share of the averaged weights that a step keeps; 0: they are the network's own."""
    bfloat16: bool = True
    """Multiply in bfloat16; the weights stay in float32."""
    compile: str | None = None
    """Backend of `torch.compile`, such as `inductor`; None: not compiled."""
    seed: int = 0
    """Of what the network itself draws, such as dropout."""
    watch: Watch | None = None
    """Which weights to keep, and when to stop; None: the last ones, and at the end."""
    tensorboard: bool = True
    """Write scalars for TensorBoard, where it is installed."""


class Trainer(Generic[Network]):
    """A network on its way, with all that an exact resumption needs.

    Args:
        network: trained in place.
        learning: how.
        folder: where the checkpoint and the log are kept; it exists.
        world: the processes that train together.
    """

    def __init__(self, network: Network, *, learning: Learning, folder: Path, world: World) -> None:
        self.network = network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        self.step = 0
        self._learning = learning
        self._folder = folder
        self._world = world
        self._trained = world.wrap(self.network)
        if learning.compile is not None:
            try:
                self._trained = cast(nn.Module, torch.compile(self._trained, backend=learning.compile))
            except RuntimeError as error:
                known = ", ".join(torch.compiler.list_backends())
                raise UsageError(f"torch cannot compile with '{learning.compile}' (there are: {known}): {error}") from error
        self.averaged: Network = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._floats = (_floats(self.averaged), _floats(self.network))
        self._optimizer = _optimizer(self.network, learning)
        self._best = Best(learning.watch)
        self._totals: dict[str, Tensor] = {}
        self._lost_at = torch.full((), -1, device=world.device)  # the first step whose loss was NaN or infinite
        self._interrupted = threading.Event()
        torch.manual_seed(seeded(learning.seed, world.rank).initial_seed())

    def epochs(
        self,
        batches: BatchSource[B],
        losses_of: Callable[[nn.Module, B], Mapping[str, Tensor]],
        *,
        validate: Callable[[Network], Mapping[str, float]] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[Epoch]:
        """Take the steps that are left, and yield each epoch when its checkpoint is written.

        Args:
            batches: where they come from.
            losses_of: names the losses, a value each; their sum is minimised. It is given what to call for the network.
            validate: measures the averaged network, in the first process.
            progress: told after each step how many images were seen, and how many there will be.

        Raises:
            RunError: a loss or a weight became NaN or infinite, or the device's memory is too small.
            OutputError: the checkpoint or the log cannot be written.
            KeyboardInterrupt: after a checkpoint at the step that Ctrl-C fell into.
        """
        with contextlib.ExitStack() as stack:
            log = None
            if self._world.main:
                log = stack.enter_context(EpochLog(self._folder, step=self.step, tensorboard=self._learning.tensorboard))
            while self.step < self._learning.epochs * batches.steps_per_epoch and not self._best.exhausted:
                with deferred_interrupt(self._interrupted):
                    epoch = self._epoch(batches, losses_of, validate, progress)
                    if log is not None:
                        log.write(epoch)
                    self.save()
                    if log is not None:
                        log.plot(epoch)
                    self._stop_where_interrupted()
                yield epoch

    def finish(self) -> Network:
        """Return the averaged network with the best weights."""
        self._best.restore(self.averaged)
        return self.averaged

    def save(self) -> None:
        """Write the checkpoint, whole or not at all.

        Raises:
            RunError: a weight is NaN or infinite.
            OutputError: the disk is full, or the folder cannot be written.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in self._floats[1]):
            raise RunError(f"a weight became NaN or infinite before step {self.step}: {self._what_to_do()}")
        random = {"cpu": torch.get_rng_state()}
        if self._world.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self._world.device)
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best.state_dict(),
            "totals": self._totals,
            "random": self._world.gather(random),
        }
        if self._world.main:
            write_state(self._folder, state)

    def resume(self) -> bool:
        """Continue from the checkpoint where there is one, and say whether there was.

        Raises:
            ModelError: the checkpoint is damaged, or of another network or optimiser.
            UsageError: it is of another number of processes.
        """
        if not (self._folder / CHECKPOINT).is_file():
            return False
        state = read_state(self._folder)
        if not isinstance(state.get("random"), list):
            raise damaged_checkpoint(self._folder / CHECKPOINT, TypeError())
        begun_with = len(state["random"])
        if begun_with != self._world.size:
            raise UsageError(
                f"the run in '{self._folder}' has {begun_with} processes, got {self._world.size}: resume it with as many"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._best.load_state_dict(state["best"])
            self.step = int(state["step"])
            self._totals = {name: total.to(self._world.device) for name, total in state["totals"].items()}
            random = state["random"][self._world.rank]
            torch.set_rng_state(random["cpu"])
            if "cuda" in random and self._world.device.type == "cuda":
                torch.cuda.set_rng_state(random["cuda"], self._world.device)
        except (AttributeError, IndexError, TypeError) as error:
            raise damaged_checkpoint(self._folder / CHECKPOINT, error) from error
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(
                f"'{self._folder / CHECKPOINT}' does not fit: {reason}; resume with the network and settings it was begun with"
            ) from error
        return True

    def _epoch(
        self,
        batches: BatchSource[B],
        losses_of: Callable[[nn.Module, B], Mapping[str, Tensor]],
        validate: Callable[[Network], Mapping[str, float]] | None,
        progress: Callable[[int, int], None],
    ) -> Epoch:
        """Take the steps that are left of an epoch, and measure."""
        started, first = time.monotonic(), self.step
        number = first // batches.steps_per_epoch + 1
        end = number * batches.steps_per_epoch
        self._trained.train()
        with self._device_errors(batches.size), contextlib.closing(prefetched(batches, range(first, end))) as coming:
            for batch in coming:
                self._take_step(batch, losses_of)
                progress(self.step * batches.size, self._learning.epochs * batches.steps_per_epoch * batches.size)
                if self.step < end and (self.step % _LOOK_EVERY == 0 or (self._interrupted.is_set() and self._world.size == 1)):
                    self._stop_where_lost()
                    self._stop_where_interrupted()
        self._stop_where_lost()
        seconds = time.monotonic() - started
        means = self._world.mean(torch.stack(list(self._totals.values())) / batches.steps_per_epoch).tolist()
        losses = dict(zip(self._totals, means, strict=True))
        self._totals = {}
        validation: dict[str, float] = {}
        if validate is not None:
            with torch.no_grad():
                validation = self._world.share(dict(validate(self.averaged)) if self._world.main else {})
        return Epoch(
            epoch=number,
            step=self.step,
            seconds=seconds,
            images_per_second=(self.step - first) * batches.size / seconds,
            rate=self._learning.schedule.rate(self.step - 1),
            losses=losses,
            validation=validation,
            best=self._best.take(self.averaged, validation),
        )

    def _take_step(self, batch: B, losses_of: Callable[[nn.Module, B], Mapping[str, Tensor]]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning.schedule.rate(self.step)
        with torch.autocast(self._world.device.type, dtype=torch.bfloat16, enabled=self._learning.bfloat16):
            losses = losses_of(self._trained, batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's own
        if self._learning.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._learning.clip_norm)
        self._optimizer.step()
        for name, loss in losses.items():
            self._totals[name] = self._totals.get(name, 0.0) + loss.detach().double()
        self._lost_at.masked_fill_((self._lost_at < 0) & ~total.detach().isfinite(), self.step)
        self.step += 1
        self._average()

    @torch.no_grad()
    def _average(self) -> None:
        # Early averages forget quickly, or the random start would weigh on them for thousands of steps.
        keep = min(self._learning.average, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(keep)(*self._floats, None)  # type: ignore[no-untyped-call]  # torch's

    def _stop_where_lost(self) -> None:
        """Raise where a loss became NaN or infinite, in any process."""
        lost_at = int(self._world.largest(self._lost_at))
        if lost_at >= 0:
            names = ", ".join(name for name, total in self._totals.items() if not total.isfinite()) or "in another process"
            raise RunError(f"the loss became NaN or infinite at step {lost_at} ({names}): {self._what_to_do()}")

    def _stop_where_interrupted(self) -> None:
        """Leave a checkpoint and raise where Ctrl-C was pressed, in any process."""
        interrupted = torch.full((), int(self._interrupted.is_set()), device=self._world.device)
        if int(self._world.largest(interrupted)):
            self._interrupted.clear()
            self.save()
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _device_errors(self, images: int) -> Iterator[None]:
        """Tell what to do about too little memory, and about a compiler, which sets to work at the first step."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            what = f"the memory of {self._world.device} is too small at step {self.step}, for batches of {images} images"
            raise RunError(f"{what}: free some and resume, or begin anew with smaller batches") from error
        except RuntimeError as error:
            if self._learning.compile is None or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"torch could not compile with '{self._learning.compile}': {reason}; do without --compile") from error

    def _what_to_do(self) -> str:
        """Say what is left of a run that was lost."""
        kept = f"'{self._folder / CHECKPOINT}' is kept as it was before; " if (self._folder / CHECKPOINT).is_file() else ""
        return f"{kept}lower the learning rate or clip the gradient, and resume or begin anew"


def _optimizer(network: nn.Module, learning: Learning) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": learning.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = learning.schedule.rate(0)
    if learning.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=learning.momentum, nesterov=True)
    return (torch.optim.AdamW if learning.optimizer == "adamw" else torch.optim.Adam)(groups, lr=rate)


def _floats(network: nn.Module) -> list[Tensor]:
    """Return the weights and the statistics of norms, all but counters."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
