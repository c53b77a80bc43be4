"""Randomness as a function of what it is for, so that nothing about it has to be stored."""

import numpy as np
import torch
from torch import Generator


def seed_of(*key: int) -> int:
    """Return a seed that depends on every number of `key` (all at least 0) and on their order.

    >>> seed_of(1, 2) == seed_of(1, 2), seed_of(1, 2) == seed_of(2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_for(*key: int) -> Generator:
    """Return a CPU generator of its own for `key`."""
    return torch.Generator().manual_seed(seed_of(*key))
