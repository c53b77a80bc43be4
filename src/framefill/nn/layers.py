"""Layers that the 2-D and the 3-D U-Net share."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from framefill.errors import InputError


def sinusoids(
    labels: Float[Tensor, " b"], width: int, order: Literal["sin-cos", "cos-sin"]
) -> Float[Tensor, "b {width}"]:
    """Embed numbers as sinusoids of geometrically spaced frequencies (Vaswani et al. 2017).

    Args:
        labels: One number per clip.
        width: Number of features; an odd last one is 0.
        order: "sin-cos" with frequencies 1..1/10000, both ends included (MCVD), or "cos-sin"
            with the last one left out (RaMViD).
    """
    half = width // 2
    last = half - 1 if order == "sin-cos" else half
    powers = torch.arange(half, dtype=torch.float32, device=labels.device) / last
    angles = labels[:, None] * torch.exp(-math.log(10000) * powers)
    waves = [angles.sin(), angles.cos()]
    if order == "cos-sin":
        waves.reverse()
    return F.pad(torch.cat(waves, dim=1), (0, width % 2))


def single_on_cpu(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Call in float32 on CPUs, where half precision slows down all but dense convolutions."""
    if tensors[0].device.type != "cpu":
        return function(*tensors)
    with torch.autocast("cpu", enabled=False):
        return function(*(tensor.float() for tensor in tensors))


class LevelEmbedding(nn.Module):
    """A noise level, and optionally more, as one vector that every residual block reads.

    Args:
        width: Number of sinusoids; the vector has four times as many features.
        order: See `sinusoids`.
        classes: Number of class labels, or 0 (RaMViD).
        told_past: The vector also says whether the past is there, in width // 2 further features
            (`cond_emb` in MCVD's code).
    """

    def __init__(
        self,
        width: int,
        order: Literal["sin-cos", "cos-sin"],
        *,
        classes: int = 0,
        told_past: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.order = width, order
        self.first = nn.Linear(width, 4 * width)
        self.second = nn.Linear(4 * width, 4 * width)
        self.classes = nn.Embedding(classes, 4 * width) if classes else None
        self.past = nn.Embedding(2, width // 2) if told_past else None
        self.features = 4 * width + (width // 2 if told_past else 0)

    def forward(
        self,
        labels: Float[Tensor, " b"],
        classes: Tensor | None = None,
        *,
        past: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b e"]:
        """Return the embedding after its last SiLU, which every block would apply again.

        Args:
            labels: What the network is told of the noise level.
            classes: Class labels, for networks that have them.
            past: Whether the past is there; only networks that are told read it.

        Raises:
            InputError: class labels are missing, or the network has no classes.
        """
        embedding = self.second(F.silu(self.first(sinusoids(labels, self.width, self.order))))
        if (self.classes is None) != (classes is None):
            raise InputError("class labels go with networks that have classes, and with no others")
        if self.classes is not None:
            embedding = embedding + self.classes(classes)
        if self.past is not None and past is not None:
            embedding = torch.cat([embedding, self.past(past.long())], dim=1)
        return F.silu(embedding)


class SelfAttention(nn.Module):
    """Residual self-attention over all positions of an image or a volume.

    Args:
        channels: Features per position.
        heads: Number of heads; must divide `channels`.
        groups: Groups of the normalisation.
        eps: Of the normalisation.
        scale: Factor of the residual sum: 1/sqrt(2) in MCVD, 1 in RaMViD.
    """

    def __init__(
        self, channels: int, *, heads: int, groups: int, eps: float, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.norm = nn.GroupNorm(groups, channels, eps=eps)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return features [b c ...] of the same shape."""
        tokens = self.norm(features).flatten(2).transpose(1, 2)
        split = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        mixed = single_on_cpu(F.scaled_dot_product_attention, query, key, value)
        update = self.out(mixed.transpose(1, 2).flatten(2)).transpose(1, 2)
        return (features + update.reshape(features.shape)) * self.scale
