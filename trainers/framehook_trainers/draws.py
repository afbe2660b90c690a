"""Random numbers that are drawn on the host and used on the device.

A step draws from one generator, seeded by what the step is, so a resumed run repeats it. That the host draws means that it knows
how many faces a choice fell on without waiting for the device, and that every device is told the same.
"""

import numpy as np
import torch
from torch import Tensor


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator on the host whose stream belongs to these numbers, such as a seed and a step."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """Return a generator on the device, seeded by a draw: for what is too large to carry there."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def uniform(n: int, low: float, high: float, *, generator: torch.Generator) -> Tensor:
    """Return n numbers between `low` and `high`, (n,)."""
    return low + (high - low) * torch.rand(n, generator=generator)


def log_uniform(n: int, low: float, high: float, *, generator: torch.Generator) -> Tensor:
    """Return n numbers between `low` and `high`, whose logarithms are spread evenly, (n,)."""
    return low * (high / low) ** torch.rand(n, generator=generator)


def happens(n: int, share: float, *, generator: torch.Generator) -> Tensor:
    """Return which of n things, each with this probability, happen: their indices."""
    return (torch.rand(n, generator=generator) < share).nonzero()[:, 0]


def upload(values: Tensor, device: torch.device) -> Tensor:
    """Return the values on the device, without waiting for it."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
