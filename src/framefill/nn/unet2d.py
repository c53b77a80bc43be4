"""MCVD's 2-D U-Net: frames are channels of one image (MCVD, Section 3; Song et al. 2021)."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from framefill.nn.layers import SelfAttention, single_on_cpu
from framefill.nn.unet import Step, UNet

SQRT_HALF = math.sqrt(0.5)
Resampling = Literal["down", "up"]


def norm_groups(channels: int) -> int:
    """Return the largest divisor of `channels` that is at most min(channels / 4, 32)."""
    groups = min(channels // 4, 32)
    while channels % groups:
        groups -= 1
    return groups


class ModulatedNorm(nn.Module):
    """Group normalisation whose scale and shift come from the noise level (AdaGN).

    Args:
        channels: Features per position.
        embedding: Features of the level embedding.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups(channels), channels, eps=1e-5, affine=False)
        self.modulation = nn.Linear(embedding, 2 * channels)

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b c h w"]:
        """Return normalised and modulated features."""
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(features), 1 + scale)


class SmoothResample(nn.Module):
    """Halve or double an image with the binomial filter [1 3 3 1] (Zhang 2019).

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

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Return features at half or double the resolution."""
        return single_on_cpu(self._filter, features)

    def _filter(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.to(features.dtype).expand(channels, -1, -1, -1)
        convolve = F.conv2d if self.direction == "down" else F.conv_transpose2d
        return convolve(features, kernel, stride=2, padding=1, groups=channels)


class ResidualBlock2d(nn.Module):
    """Norm, SiLU, convolution, twice, with optional resampling of both branches (BigGAN).

    Args:
        channels: Features in.
        out: Features out.
        embedding: Features of the level embedding.
        dropout: Probability of dropping a feature before the second convolution.
        resample: Halve or double the resolution on the way.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        embedding: int,
        dropout: float,
        resample: Resampling | None = None,
    ) -> None:
        super().__init__()
        self.first_norm = ModulatedNorm(channels, embedding)
        self.first = nn.Conv2d(channels, out, 3, padding=1)
        self.second_norm = ModulatedNorm(out, embedding)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.resample = SmoothResample(resample) if resample else None
        changes = channels != out or resample is not None
        self.shortcut = nn.Conv2d(channels, out, 1) if changes else None

    def forward(
        self, features: Float[Tensor, "b c h w"], embedding: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b out h2 w2"]:
        """Return features with `out` channels."""
        hidden = F.silu(self.first_norm(features, embedding))
        if self.resample is not None:
            hidden, features = self.resample(hidden), self.resample(features)
        hidden = F.silu(self.second_norm(self.first(hidden), embedding))
        hidden = self.second(self.dropout(hidden))
        if self.shortcut is not None:
            features = self.shortcut(features)
        return (features + hidden) * SQRT_HALF


class Head2d(nn.Module):
    """Norm, SiLU and the last convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups(channels), channels, eps=1e-5)
        self.conv = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """Return the network's output."""
        return self.conv(F.silu(self.norm(features)))


def build_unet2d(
    *,
    channels: int,
    out: int,
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    head_width: int | None,
    embedding: int,
    dropout: float,
) -> UNet:
    """Build MCVD's `unetmore`, initialised as there ("DDPM init").

    Args:
        channels: Channels of the input image.
        out: Channels of the output image.
        widths: Features at each resolution, finest first.
        blocks: Residual blocks per resolution on the way down; one more on the way up.
        attention: Indices into `widths` of the resolutions with self-attention.
        head_width: Features per attention head; None, or a narrower resolution: one head.
        embedding: Features of the level embedding.
        dropout: See `ResidualBlock2d`.
    """

    def residual(features: int, out: int, resample: Resampling | None = None) -> ResidualBlock2d:
        return ResidualBlock2d(
            features, out, embedding=embedding, dropout=dropout, resample=resample
        )

    def attend(width: int) -> SelfAttention:
        heads = 1 if head_width is None or width < head_width else width // head_width
        return SelfAttention(
            width, heads=heads, groups=norm_groups(width), eps=1e-6, scale=SQRT_HALF
        )

    skips = [widths[0]]

    def down() -> Iterator[Step]:
        for level, width in enumerate(widths):
            for _ in range(blocks):
                attends = attend(width) if level in attention else None
                yield Step(residual(skips[-1], width), attention=attends)
                skips.append(width)
            if level < len(widths) - 1:
                yield Step(residual(width, width, "down"))
                skips.append(width)

    def up() -> Iterator[Step]:
        features = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                attends = attend(width) if level in attention and block == blocks else None
                joined = residual(features + skips.pop(), width)
                yield Step(joined, attention=attends, joins=True)
                features = width
            if level > 0:
                yield Step(residual(width, width, "up"))

    deepest = widths[-1]
    net = UNet(
        stem=nn.Conv2d(channels, widths[0], 3, padding=1),
        down=list(down()),
        middle=[
            Step(residual(deepest, deepest), attention=attend(deepest)),
            Step(residual(deepest, deepest)),
        ],
        up=list(up()),
        head=Head2d(widths[0], out),
    )
    initialise_like_ddpm(net)
    return net


def initialise_like_ddpm(net: nn.Module) -> None:
    """Initialise uniformly with variance 1 / mean fan, and last layers of branches near zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _uniform(module, 1.0)
        if isinstance(module, SelfAttention):
            # Three matrices in one tensor: the fan is that of each.
            bound = math.sqrt(3 * 0.1 / module.out.in_features)
            nn.init.uniform_(module.qkv.weight, -bound, bound)
    for module in net.modules():
        if isinstance(module, ResidualBlock2d):
            _uniform(module.second, 1e-10)
        if isinstance(module, SelfAttention):
            _uniform(module.out, 1e-10)
        if isinstance(module, Head2d):
            _uniform(module.conv, 1e-10)


def _uniform(layer: nn.Conv2d | nn.Linear, scale: float) -> None:
    window = layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
    fan = window * (layer.weight.shape[0] + layer.weight.shape[1]) / 2
    bound = math.sqrt(3 * scale / fan)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
