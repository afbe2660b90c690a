"""Learning rates: each schedule is a record that says the rate of a step, the first being 0."""

import math
from dataclasses import dataclass
from typing import Protocol

from framehook import UsageError


class Schedule(Protocol):
    """What a trainer asks for the rate."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecay:
    """A rate that falls by a factor at chosen epochs."""

    start: float
    """The first rate."""
    steps_per_epoch: int
    """Batches of an epoch."""
    milestones: tuple[int, ...] = ()
    """The epochs at whose beginning it falls; with none the rate is constant."""
    factor: float = 0.1
    """What it is multiplied by."""

    def rate(self, step: int) -> float:
        """Return start · factor^(milestones passed)."""
        epoch = step // self.steps_per_epoch
        return float(self.start * self.factor ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """A rate that is halved every few epochs."""

    start: float
    """The first rate."""
    steps_per_epoch: int
    """Batches of an epoch."""
    every_epochs: int
    """Epochs from one halving to the next."""

    def rate(self, step: int) -> float:
        """Return start / 2^⌊epoch / every_epochs⌋."""
        return float(self.start * 0.5 ** (step // self.steps_per_epoch // self.every_epochs))


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseDecay:
    """A rate that falls as 1 / (1 + decay · epoch)."""

    start: float
    """The first rate."""
    steps_per_epoch: int
    """Batches of an epoch."""
    decay: float
    """How fast it falls, per epoch."""

    def rate(self, step: int) -> float:
        """Return start / (1 + decay · epoch), the epoch in whole numbers."""
        return self.start / (1 + self.decay * (step // self.steps_per_epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmCosine:
    """A rate that rises in a straight line and falls along a cosine (Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5)."""

    peak: float
    """The rate at the end of the warm-up."""
    steps: int
    """Batches in all."""
    warm_up_steps: int = 0
    """Batches of the rise; the first of them has peak / warm_up_steps."""
    end: float = 0.0
    """What the rate falls to."""

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up_steps < self.steps:
            raise UsageError(f"warm_up_steps must be 0 to {self.steps - 1} of {self.steps} steps, got {self.warm_up_steps}")

    def rate(self, step: int) -> float:
        """Return peak · (step + 1) / warm_up_steps, and then end + (peak - end) · (1 + cos(π · progress)) / 2."""
        if step < self.warm_up_steps:
            return self.peak * (step + 1) / self.warm_up_steps
        return self.end + (self.peak - self.end) * _cosine((step - self.warm_up_steps) / (self.steps - self.warm_up_steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCycle:
    """A rate that rises for a share of the run and falls to nothing (Smith and Topin, "Super-Convergence", 2019)."""

    peak: float
    """The highest rate."""
    steps: int
    """Batches in all."""
    rising: float = 0.2
    """Share of the steps in which the rate rises, in a straight line; then it falls along a cosine."""
    start: float = 0.04
    """The first rate, as a share of the peak."""

    def __post_init__(self) -> None:
        if not 0 < self.rising < 1:
            raise UsageError(f"rising must lie between 0 and 1, got {self.rising}")

    def rate(self, step: int) -> float:
        """Return peak · (start + (1 - start) · progress / rising), and then peak · (1 + cos(π · rest)) / 2."""
        progress = step / self.steps
        if progress < self.rising:
            return self.peak * (self.start + (1 - self.start) * progress / self.rising)
        return self.peak * _cosine((progress - self.rising) / (1 - self.rising))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Schedules one after the other, each from its own beginning: a restart."""

    phases: tuple[tuple[int, Schedule], ...]
    """Batches of each, and its schedule; the last goes on for as long as it is asked."""

    def rate(self, step: int) -> float:
        """Return the rate of the phase that the step falls into."""
        for steps, schedule in self.phases[:-1]:
            if step < steps:
                return schedule.rate(step)
            step -= steps
        return self.phases[-1][1].rate(step)


def _cosine(progress: float) -> float:
    """Fall from 1 to 0 as progress goes from 0 to 1, and stay there."""
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
