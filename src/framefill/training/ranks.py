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
STEP = timedelta(minutes=10)  # for a step


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

    def gathered(self, values: Tensor, *, patient: bool = False) -> Tensor:
        """Return the rows of all processes, in their order; each gives equally many, on the CPU.

        Args:
            values: This process's.
            patient: Wait for the others however long it takes, not just for a step.
        """
        if self.alone:
            return values
        rows = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(rows, values.contiguous(), group=self.waiting if patient else None)
        return torch.cat(rows)

    def total(self, value: float) -> float:
        """Return the sum of the processes' values."""
        return float(self.gathered(torch.tensor([value], dtype=torch.float64)).sum())

    def all_do(self, action: Callable[[], T], *, patient: bool = False) -> T:
        """Let every process do something by itself; if one of them can't, all stop.

        Args:
            action: What each does.
            patient: The processes may need very different times for it.

        Raises:
            InputError: what this process's action raised.
            EchoError: another process's did.
        """
        trouble: InputError | None = None
        done: list[T] = []
        try:
            done.append(action())
        except InputError as error:
            trouble = error
        failed = self.gathered(torch.tensor([trouble is not None]), patient=patient)
        if trouble is not None:
            raise trouble
        if failed.any():
            raise EchoError(f"process {int(failed.int().argmax())} of {self.count} can't go on")
        return done[0]

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
        LostError: another process has gone, while they were together.
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
        dist.init_process_group(backend, timeout=STEP)
    except (ValueError, RuntimeError) as error:  # such as a port that is taken
        raise InputError(
            f"the {count} processes can't find each other at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']}: {str(error).splitlines()[0]}"
        ) from error
    try:
        waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Ranks(dist.get_rank(), dist.get_world_size(), waiting), place
    except RuntimeError as error:
        if not is_loss(error):
            raise
        raise LostError(
            f"another process has gone ({str(error).splitlines()[0]}); what was "
            "saved is whole: the same command goes on"
        ) from error
    finally:
        dist.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    """Return this process's GPU of its machine, or the device itself if that has no number."""
    if device.type != "cuda":
        return device
    local, here = os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count()
    if not local.isdigit():
        raise InputError(
            f"LOCAL_RANK {local!r} must be the number of the process on its machine, which takes "
            "the GPU of that number"
        )
    if int(local) >= here:
        raise InputError(
            f"process {local} of this machine sees {here} GPU(s), and none of its own: start at "
            f"most as many as there are (--nproc-per-node {here}), and let each see all GPUs of "
            "its machine (--gpus-per-node, not --gpus-per-task)"
        )
    torch.cuda.set_device(int(local))
    return torch.device("cuda", int(local))


def is_loss(error: RuntimeError) -> bool:
    """Say whether an error means that another process has gone."""
    said = str(error)
    return isinstance(error, dist.DistError) or "gloo" in said or "Connection" in said
