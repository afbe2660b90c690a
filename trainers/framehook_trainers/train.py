"""The training loop: one-cycle AdamW in bfloat16 with averaged weights, resumable to the step."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int
    """Batches in all."""
    steps_per_epoch: int
    """Batches between two reports and checkpoints."""
    peak_rate: float = 3e-3
    """The learning rate at the end of the warm-up."""
    warm_up: float = 0.2
    """Share of the steps in which the rate rises; then it falls to nothing along a cosine."""
    weight_decay: float = 0.05
    """Of matrices and filters; vectors (norms, biases) are left alone."""
    average: float = 0.998
    """Share of the averaged weights that a step keeps."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (Smith and Topin, "Super-Convergence", 2019)."""
        progress = step / self.steps
        if progress < self.warm_up:
            return self.peak_rate * (0.04 + 0.96 * progress / self.warm_up)
        return self.peak_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))


class Trainer(Generic[Network]):
    """A network on its way, with all that an exact resumption needs.

    Args:
        network: trained in place.
        schedule: how long and how fast.
        folder: where the checkpoint is kept.
        device: where the network runs.
    """

    def __init__(self, network: Network, *, schedule: Schedule, folder: Path, device: torch.device) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.step = 0
        self._schedule = schedule
        self._folder = folder
        self._device = device
        parameters = list(network.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": schedule.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=schedule.rate(0))

    def run(
        self,
        batch_of: Callable[[int], tuple[Tensor, ...]],
        loss_of: Callable[[Network, tuple[Tensor, ...]], Mapping[str, Tensor]],
        *,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        """Take the steps that are left.

        Args:
            batch_of: makes the batch of a step; the same one each time that it is asked.
            loss_of: names the losses; their sum is minimised.
            report: told of each epoch: step, seconds, faces a second, rate and mean losses.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            coming = pool.submit(batch_of, self.step)
            while self.step < self._schedule.steps:
                started, first = time.monotonic(), self.step
                totals: dict[str, float] = {}
                faces = 0
                while self.step < min(self._epoch_end(first), self._schedule.steps):
                    batch = coming.result()
                    coming = pool.submit(batch_of, self.step + 1)
                    for name, value in self._take_step(batch, loss_of).items():
                        totals[name] = totals.get(name, 0.0) + value
                    faces += len(batch[0])
                seconds = time.monotonic() - started
                self.save()
                means = {name: total / (self.step - first) for name, total in totals.items()}
                rate = self._schedule.rate(self.step - 1)
                report({"step": self.step, "seconds": seconds, "faces_per_second": faces / seconds, "rate": rate, **means})

    def _epoch_end(self, step: int) -> int:
        return (step // self._schedule.steps_per_epoch + 1) * self._schedule.steps_per_epoch

    def _take_step(
        self, batch: tuple[Tensor, ...], loss_of: Callable[[Network, tuple[Tensor, ...]], Mapping[str, Tensor]]
    ) -> dict[str, float]:
        self.network.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.rate(self.step)
        batch = tuple(part.to(self._device) for part in batch)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            losses = loss_of(self.network, batch)
        self._optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch's own
        self._optimizer.step()
        self._average()
        self.step += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def _average(self) -> None:
        # Early averages forget quickly, or the random start would weigh on them for thousands of steps.
        keep = min(self._schedule.average, (1 + self.step) / (10 + self.step))
        own = self.network.state_dict()
        for name, averaged in self.averaged.state_dict().items():
            if averaged.is_floating_point():
                averaged.lerp_(own[name], 1 - keep)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        part = self._folder / f"{CHECKPOINT}.part"
        torch.save(state, part)
        part.replace(self._folder / CHECKPOINT)

    def resume(self) -> bool:
        """Continue from the checkpoint where there is one, and say whether there was."""
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        return True
