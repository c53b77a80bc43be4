"""SPATIN with maps computed once per walk, against at every step: `python benchmarks/spatin.py`.

Both give the same prediction (checked here); what is printed is the ratio of their times for one
step of a walk, the best of several interleaved rounds, so that a busy machine slows both.
"""

import time

import torch

from framefill.masks import BlockMasks
from framefill.recipes import recipe
from framefill.types import Denoiser, Preparable

ROUNDS = 8


def seconds(denoiser: Denoiser, *inputs: torch.Tensor) -> float:
    """Return the time of one prediction."""
    started = time.perf_counter()
    denoiser(*inputs)
    return time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    """Print the ratio for the network of `smmnist-spatin-prediction`, one clip of 64 x 64."""
    config = recipe("smmnist-spatin-prediction")
    network = config.model().build().eval()
    if not isinstance(network, Preparable) or not isinstance(config.masks, BlockMasks):
        raise TypeError("the recipe has no SPATIN network")
    clip = torch.randn(1, config.masks.frames, 1, 64, 64)
    roles = config.masks.roles_of(torch.ones(1), torch.ones(1))
    inputs = clip, torch.full(roles.shape, 500.0), roles
    prepared = network.prepare(clip, roles)
    if not torch.allclose(prepared(*inputs), network(*inputs), atol=1e-4):
        raise ValueError("the two do not agree")
    rounds = [(seconds(network, *inputs), seconds(prepared, *inputs)) for _ in range(ROUNDS)]
    plain, once = (min(times) for times in zip(*rounds, strict=True))
    print(f"{plain / once:.2f} times faster")


if __name__ == "__main__":
    main()
