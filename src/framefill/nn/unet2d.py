"""MCVD's U-Net, of which frames are channels (MCVD, Section 3; NCSN++ of Song et al. 2021).

Its parts take their convolutions and norms from outside, so that `framefill.nn.mcvd3d` can have
others.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from framefill.nn.layers import SelfAttention, single_on_cpu
from framefill.nn.spatin import Convolution
from framefill.nn.unet import Step, UNet

SQRT_HALF = math.sqrt(0.5)
Resampling = Literal["down", "up"]


def norm_groups(channels: int) -> int:
    """Return the largest divisor of `channels` that is at most min(channels / 4, 32)."""
    groups = min(channels // 4, 32)
    while channels % groups:
        groups -= 1
    return groups


def group_norm(channels: int, *, affine: bool = True, eps: float = 1e-5) -> nn.GroupNorm:
    """Return MCVD's group normalisation."""
    return nn.GroupNorm(norm_groups(channels), channels, eps=eps, affine=affine)


class ModulatedNorm(nn.Module):
    """Normalisation with a further scale and shift that come from the noise level (AdaGN).

    Args:
        norm: The normalisation, called with the features and the context.
        channels: Features per position.
        embedding: Features of the level embedding.
    """

    def __init__(self, norm: nn.Module, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = nn.Linear(embedding, 2 * channels)

    def forward(
        self, features: Float[Tensor, "b c *size"], embedding: Float[Tensor, "b e"], *context: Any
    ) -> Float[Tensor, "b c *size"]:
        """Return normalised and modulated features."""
        modulation = self.modulation(embedding)
        scale, shift = modulation[(..., *[None] * (features.ndim - 2))].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(features, *context), 1 + scale)


class SmoothResample(nn.Module):
    """Halve or double images with the binomial filter [1 3 3 1] (Zhang 2019).

    One depthwise convolution with stride, instead of a filter at full resolution whose output is
    mostly thrown away.
    """

    kernel: Tensor

    def __init__(self, direction: Resampling) -> None:
        super().__init__()
        self.direction = direction
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = torch.outer(taps, taps) * (1 if direction == "down" else 4)
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, features: Float[Tensor, "b *c h w"]) -> Float[Tensor, "b *c h2 w2"]:
        """Return features at half or double the resolution."""
        images = single_on_cpu(self._filter, features.flatten(1, -3))
        return images.reshape(*features.shape[:-2], *images.shape[-2:])

    def _filter(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.to(features.dtype).expand(channels, -1, -1, -1)
        convolve = F.conv2d if self.direction == "down" else F.conv_transpose2d
        return convolve(features, kernel, stride=2, padding=1, groups=channels)


class BigGanBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with optional resampling of both branches (BigGAN).

    Args:
        channels: Features in.
        out: Features out.
        norm: Makes a normalisation, given the number of features.
        conv: Makes a convolution, given features in, features out and the side of its window.
        dropout: Probability of dropping a feature before the second convolution.
        resample: Halve or double the resolution on the way.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        norm: Callable[[int], nn.Module],
        conv: Convolution,
        dropout: float,
        resample: Resampling | None = None,
    ) -> None:
        super().__init__()
        self.first_norm = norm(channels)
        self.first = conv(channels, out, 3)
        self.second_norm = norm(out)
        self.dropout = nn.Dropout(dropout)
        self.second = conv(out, out, 3)
        self.resample = SmoothResample(resample) if resample else None
        changes = channels != out or resample is not None
        self.shortcut = conv(channels, out, 1) if changes else None

    def forward(
        self, features: Float[Tensor, "b c *size"], embedding: Float[Tensor, "b e"], *context: Any
    ) -> Float[Tensor, "b out *size2"]:
        """Return features with `out` channels."""
        hidden = F.silu(self.first_norm(features, embedding, *context))
        if self.resample is not None:
            hidden, features = self.resample(hidden), self.resample(features)
        hidden = F.silu(self.second_norm(self.first(hidden), embedding, *context))
        hidden = self.second(self.dropout(hidden))
        if self.shortcut is not None:
            features = self.shortcut(features)
        return (features + hidden) * SQRT_HALF


class Head(nn.Module):
    """Norm, SiLU and the last convolution."""

    def __init__(self, norm: nn.Module, conv: nn.Module) -> None:
        super().__init__()
        self.norm, self.conv = norm, conv

    def forward(
        self, features: Float[Tensor, "b c *size"], *context: Any
    ) -> Float[Tensor, "b out *size"]:
        """Return the network's output."""
        return self.conv(F.silu(self.norm(features, *context)))


def conv2d(channels: int, out: int, window: int) -> nn.Conv2d:
    """Return a convolution that keeps the size."""
    return nn.Conv2d(channels, out, window, padding=window // 2)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a U-Net is made of.

    Args:
        embedding: Features of the level embedding.
        head_width: Features per attention head; None, or a narrower resolution: one head.
        dropout: Probability of dropping a feature.
        conv: See `BigGanBlock`.
        spatin: Makes a normalisation that reads the context, given the number of features
            (`framefill.nn.spatin`), in place of group normalisation outside attention.
        mix: Makes what changes the number of frames, in the middle and of every skip.
        attention: Makes an attention block, as `SelfAttention`.
        skeleton: Makes the whole, as `UNet`.
    """

    embedding: int
    head_width: int | None
    dropout: float
    conv: Convolution = conv2d
    spatin: Callable[[int], nn.Module] | None = None
    mix: Callable[[], nn.Module] | None = None
    attention: Callable[..., nn.Module] = SelfAttention
    skeleton: Callable[..., UNet] = UNet

    def norm(self, features: int) -> ModulatedNorm:
        """Return the normalisation of a residual block."""
        plain = group_norm(features, affine=False) if self.spatin is None else self.spatin(features)
        return ModulatedNorm(plain, features, self.embedding)

    def residual(self, features: int, out: int, resample: Resampling | None = None) -> BigGanBlock:
        """Return a residual block."""
        return BigGanBlock(
            features,
            out,
            norm=self.norm,
            conv=self.conv,
            dropout=self.dropout,
            resample=resample,
        )

    def attend(self, width: int) -> nn.Module:
        """Return an attention block."""
        heads = (
            1 if self.head_width is None or width < self.head_width else width // self.head_width
        )
        return self.attention(
            width, heads=heads, groups=norm_groups(width), eps=1e-6, scale=SQRT_HALF
        )

    def mixed(self) -> nn.Module | None:
        """Return what changes the number of frames, if anything does."""
        return None if self.mix is None else self.mix()

    def head(self, width: int, out: int) -> Head:
        """Return the last layers."""
        return Head((self.spatin or group_norm)(width), self.conv(width, out, 3))


def build_unet2d(
    parts: Parts,
    *,
    channels: int,
    out: int,
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
) -> UNet:
    """Build MCVD's `unetmore`; see `initialise_like_ddpm` for its first weights.

    Args:
        parts: What it is made of.
        channels: Channels of the input.
        out: Channels of the output.
        widths: Features at each resolution, finest first.
        blocks: Residual blocks per resolution on the way down; one more on the way up.
        attention: Indices into `widths` of the resolutions with self-attention.
    """
    skips = [widths[0]]

    def down() -> Iterator[Step]:
        for level, width in enumerate(widths):
            for _ in range(blocks):
                attends = parts.attend(width) if level in attention else None
                yield Step(parts.residual(skips[-1], width), attention=attends)
                skips.append(width)
            if level < len(widths) - 1:
                yield Step(parts.residual(width, width, "down"))
                skips.append(width)

    def up() -> Iterator[Step]:
        features = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                attends = parts.attend(width) if level in attention and block == blocks else None
                joined = parts.residual(features + skips.pop(), width)
                yield Step(joined, attention=attends, joins=True, skip=parts.mixed())
                features = width
            if level > 0:
                yield Step(parts.residual(width, width, "up"))

    deepest = widths[-1]
    return parts.skeleton(
        stem=parts.conv(channels, widths[0], 3),
        down=list(down()),
        middle=[
            Step(
                parts.residual(deepest, deepest),
                attention=parts.attend(deepest),
                resample=parts.mixed(),
            ),
            Step(parts.residual(deepest, deepest)),
        ],
        up=list(up()),
        head=parts.head(widths[0], out),
    )


def initialise_like_ddpm(net: nn.Module) -> None:
    """Give a network MCVD's first weights ("DDPM init").

    Uniform with variance 1 / mean fan, smaller in attention, and near zero in the last layers of
    branches; in its 3-D networks the official code leaves convolutions out of this.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            _uniform(module, 1.0)
    for module in net.modules():
        if isinstance(module, SelfAttention):
            # Three square matrices in one tensor: the fan is that of each.
            bound = math.sqrt(3 * 0.1 / module.out.in_features)
            nn.init.uniform_(module.qkv.weight, -bound, bound)
            _uniform(module.out, 1e-10)
        if isinstance(module, BigGanBlock) and isinstance(module.second, nn.Conv2d):
            _uniform(module.second, 1e-10)
        if isinstance(module, Head) and isinstance(module.conv, nn.Conv2d):
            _uniform(module.conv, 1e-10)


def _uniform(layer: nn.Module, scale: float) -> None:
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    fan = weight[0, 0].numel() * (weight.shape[0] + weight.shape[1]) / 2
    bound = math.sqrt(3 * scale / fan)
    nn.init.uniform_(weight, -bound, bound)
    if bias is not None:
        nn.init.zeros_(bias)
