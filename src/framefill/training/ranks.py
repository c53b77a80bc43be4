"""The processes of a training: which of them this one is, and what they tell each other."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from framefill.device import choose_device
from framefill.errors import EchoError, InputError

T = TypeVar("T")
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # as torchrun says it
PATIENCE = timedelta(days=1)  # for what one process does while the others wait


class LostError(Exception):
    """Another process of the training has gone; what was saved is whole."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, as one of them sees them; by default it is alone.

    Args:
        rank: Number of this process, from 0.
        count: Number of processes.
        waiting: The group in which they wait for the first one, however long it takes.
    """

    rank: int = 0
    count: int = 1
    waiting: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    def share(self, clips: int) -> slice:
        """Return which of a batch's clips are this process's.

        Raises:
            InputError: the batch can't be divided evenly.
        """
        if clips % self.count:
            raise InputError(
                f"optim.batch {clips} can't be divided among {self.count} processes: choose a "
                f"multiple of {self.count}; it is the number of clips of all of them together"
            )
        size = clips // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def gathered(self, values: Tensor) -> Tensor:
        """Return the rows of all processes, in their order; each gives equally many, on the CPU."""
        if self.alone:
            return values
        rows = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(rows, values.contiguous())
        return torch.cat(rows)

    def total(self, value: float) -> float:
        """Return the sum of the processes' values."""
        return float(self.gathered(torch.tensor([value], dtype=torch.float64)).sum())

    def first_does(self, action: Callable[[], T]) -> T:
        """Let the first process do something; return its result, or raise its mistake, in all.

        Args:
            action: Its result travels to the other processes.

        Raises:
            InputError: what the action raised, in every process.
        """
        if self.alone:
            return action()
        told: list[T | InputError | None] = [None]
        if self.first:
            try:
                told = [action()]
            except InputError as error:
                told = [error]
        dist.broadcast_object_list(told, src=0, group=self.waiting)
        if isinstance(told[0], InputError):
            raise told[0] if self.first else EchoError(str(told[0]))
        return told[0]  # type: ignore[return-value]


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that torchrun, or a cluster's own launcher, has started; or stay alone.

    Args:
        device: "auto", "cpu", "cuda" or "mps"; each process of a machine takes its own GPU.

    Yields:
        The processes, and this one's device.

    Raises:
        InputError: the launcher has not said all of who is who, or there are more processes than
            GPUs.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if not count.isdigit() or int(count) < 1:
        raise InputError(f"WORLD_SIZE {count!r} must be the number of processes")
    if int(count) == 1:
        yield Ranks(), choose_device(device)
        return
    if missing := [name for name in LAUNCHED if name not in os.environ]:
        raise InputError(
            f"WORLD_SIZE is {count} and {', '.join(missing)} isn't set: start it with torchrun, or "
            f"set {', '.join(LAUNCHED)} and LOCAL_RANK for each process"
        )
    place = _own(choose_device(device))
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend)
    except (ValueError, RuntimeError) as error:  # such as a port that is taken
        raise InputError(
            f"the {count} processes can't find each other at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']}: {str(error).splitlines()[0]}"
        ) from error
    try:
        waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(dist.get_rank(), dist.get_world_size(), waiting), place
    finally:
        dist.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    """Return this process's GPU of its machine, or the device itself if that has no number."""
    if device.type != "cuda":
        return device
    local, here = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= here:
        raise InputError(
            f"process {local} of this machine has no GPU of its own, there are {here}: start at "
            f"most {here} on each machine (--nproc-per-node {here})"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def is_loss(error: RuntimeError) -> bool:
    """Say whether an error means that another process has gone."""
    said = str(error)
    return isinstance(error, dist.DistError) or "gloo" in said or "Connection" in said
