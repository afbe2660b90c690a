"""Several processes that train one network together, each on its share of every batch, as `torchrun` starts them.

    torchrun --nproc-per-node 4 $(which framehook) train framehook --faces faces --out run

Each process averages its losses over its own share and the gradients are averaged over the processes: the same as one process
with the whole batch, but for batch norm, whose statistics are of a share, and for batches whose shares differ in how many labels
are known.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

# The defaults of its functions are the process group of the moment it is imported, or none. The optimisers import it: were that
# the first time, the group would never end, and a thread of it that still frees a tensor while the interpreter ends aborts that.
import torch.distributed.nn
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from framehook import DeviceError, FramehookError, RunError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The processes that train together, and this one's place among them; by default it is alone."""

    device: torch.device
    """Where this process's network runs."""
    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are."""

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network to train, which starts as process 0's and whose gradients are averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of each value over the processes."""
        if self.size == 1:
            return values
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed / self.size

    def largest(self, values: Tensor) -> Tensor:
        """Return the largest of each value over the processes."""
        if self.size == 1:
            return values
        most = values.clone()
        distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
        return most

    def gather(self, record: Any) -> list[Any]:
        """Return the record of each process, in the order of their ranks."""
        records = [record]
        if self.size > 1:
            records *= self.size
            distributed.all_gather_object(records, record)
        return records

    def share(self, record: Any) -> Any:
        """Return process 0's record."""
        records = [record]
        if self.size > 1:
            distributed.broadcast_object_list(records, src=0)
        return records[0]


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """Join the other processes where `torchrun` started this one, and leave them at the end.

    Args:
        device: the kind of device; of CUDA's, each process of a machine takes its own.

    Raises:
        UsageError: only some of torchrun's variables are set, or one is no number.
        DeviceError: more processes than CUDA devices.
        RunError: another process ended.
    """
    if "RANK" not in os.environ:
        yield World(device=device)
        return
    rank, local_rank, size = (_number(name) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise DeviceError(
                f"process {local_rank} of this machine has no CUDA device of its own: there are {torch.cuda.device_count()};"
                " start at most that many with torchrun --nproc-per-node"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if device.type == "cuda":
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    try:
        with _errors_of_others():
            yield World(device=device, rank=rank, size=size)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _errors_of_others() -> Iterator[None]:
    """Tell what it means where there is nobody at the other end; gloo has no error of its own."""
    try:
        yield
    except FramehookError:
        raise
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise RunError("another process of the run ended, what it said tells why: resume the run") from error


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise UsageError(f"the environment variable {name} is '{text}', want a number: start several processes with torchrun")
    return int(text)
