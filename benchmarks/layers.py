"""Our layers against the plain forms of the official code: `python benchmarks/layers.py`.

Both forms give the same numbers (checked here); what is printed is the ratio of their times, the
best of several interleaved rounds, so that a busy machine slows both.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from framefill.nn.layers import SelfAttention
from framefill.nn.unet2d import SmoothResample

ROUNDS = 15


def ratio(plain: Callable[[], Tensor], ours: Callable[[], Tensor]) -> float:
    """Return how many times faster `ours` is, forward and backward."""
    best = {plain: float("inf"), ours: float("inf")}
    for _ in range(ROUNDS):
        for function in (plain, ours):
            started = time.perf_counter()
            function().sum().backward()
            best[function] = min(best[function], time.perf_counter() - started)
    return best[plain] / best[ours]


def resampling() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Filter at full resolution and drop three quarters, against one strided convolution."""
    image = torch.randn(4, 128, 64, 64, requires_grad=True)
    layer = SmoothResample("down")

    def plain() -> Tensor:
        single = F.pad(image, (1, 1, 1, 1)).reshape(-1, 1, 66, 66)
        return F.conv2d(single, layer.kernel)[:, :, ::2, ::2].reshape(4, 128, 32, 32)

    return plain, lambda: layer(image)


def attention() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Three projections and an explicit softmax, against one projection and fused attention."""
    image = torch.randn(4, 128, 32, 32, requires_grad=True)
    layer = SelfAttention(128, heads=2, groups=32, eps=1e-6)

    def plain() -> Tensor:
        tokens = layer.norm(image).flatten(2).transpose(1, 2)
        weights, biases = layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3)
        parts = [
            F.linear(tokens, w, b).unflatten(2, (2, -1))
            for w, b in zip(weights, biases, strict=True)
        ]
        query, key, value = parts
        scores = torch.einsum("bihc,bjhc->bhij", query, key) / 8
        mixed = torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), value).flatten(2)
        return image + layer.out(mixed).transpose(1, 2).reshape(image.shape)

    return plain, lambda: layer(image)


def main() -> None:
    """Print one ratio for each layer."""
    for name, make in (("resampling", resampling), ("attention", attention)):
        plain, ours = make()
        error = (plain() - ours()).abs().max().item()
        print(f"{name:12} {ratio(plain, ours):.2f} times as fast, largest difference {error:.0e}")


if __name__ == "__main__":
    main()
