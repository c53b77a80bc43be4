"""Memory: how much there is, how much a process used at most, what a training's parts take."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from framefill.config import Config
from framefill.costs import Cost

LEFT = 0.05  # of the free main memory, for everything else on the machine
CGROUPS = Path("/sys/fs/cgroup")


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that this process has used up to now: of the GPU, or main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()  # which is given back at the end alone
    return _peak_resident()


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count what the process was before it became this program.
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def free_bytes() -> int:
    """Return the main memory that a training may take: most of what the machine has free.

    A limit of the process's control group, such as a container's, counts where it is lower.
    """
    free = min([psutil.virtual_memory().available, *_rooms(Path("/proc/self/cgroup"), CGROUPS)])
    return int((1 - LEFT) * free)


def _rooms(own: Path, root: Path) -> Iterator[int]:
    """Yield what each limit on the way from the process's control group to the root leaves.

    Args:
        own: The file in which the kernel says which groups the process is in.
        root: Where groups are folders.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            folder, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            folder = root / "memory"
        else:
            continue
        parts = [part for part in Path(path).parts if part not in ("/", "..")]
        for length in range(len(parts) + 1):
            yield from _room(folder.joinpath(*parts[:length]), *names)


def _room(folder: Path, most: str, used: str, cached: str) -> Iterator[int]:
    """Yield what a group's limit leaves, if it has one; files in the cache give way."""
    try:
        limit = int((folder / most).read_text("utf-8"))
        taken = int((folder / used).read_text("utf-8"))
        words = (folder / "memory.stat").read_text("utf-8").split()
        kept = dict(zip(words[::2], words[1::2], strict=False)).get(cached, "0")
    except (OSError, ValueError):  # there is no limit, or no such file
        return
    yield max(0, limit - taken + int(kept))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a training's memory is made of, in bytes, computed; numbers are float32.

    Args:
        weights: Of the network.
        gradients: Of the weights.
        adam: Adam's two averages.
        averages: Moving averages of the weights.
        clip: What one clip leaves behind for the way back, where nothing is computed again.
        held: Clips that do so at once.
        batch: A batch as it was read, and in model range.
    """

    weights: int
    gradients: int
    adam: int
    averages: int
    clip: int
    held: int
    batch: int

    @property
    def state(self) -> int:
        """All that doesn't depend on the clips."""
        return self.weights + self.gradients + self.adam + self.averages


def parts_of(config: Config, price: Cost) -> Parts:
    """Return what a training's memory is made of."""
    optim, weights = config.optim, 4 * price.parameters
    return Parts(
        weights=weights,
        gradients=weights,
        adam=2 * weights,
        averages=(1 + len(optim.more_ema) + len(optim.ema_widths)) * weights,
        clip=price.clip_bytes,
        held=min(optim.microbatch or optim.batch, optim.batch),
        batch=batch_bytes(config, optim.batch),
    )


def batch_bytes(config: Config, clips: int) -> int:
    """Return the memory of clips as they were read, and in model range."""
    values = config.masks.frames * config.data.height * config.data.width * config.data.channels
    return clips * values * (np.dtype(config.normaliser.dtype).itemsize + 4)
