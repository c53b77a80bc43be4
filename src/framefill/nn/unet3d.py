"""RaMViD's 3-D U-Net: frames are a third axis of space (RaMViD, Section 4)."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from framefill.nn.layers import SelfAttention
from framefill.nn.unet import Step, UNet

GROUPS = 32


class ResidualBlock3d(nn.Module):
    """Norm, SiLU, convolution, twice, over rows, columns and frames.

    Args:
        channels: Features in.
        out: Features out.
        embedding: Features of the level embedding.
        dropout: Probability of dropping a feature before the second convolution.
        scale_shift: The level scales and shifts the second norm; otherwise it is added before it.
    """

    def __init__(
        self, channels: int, out: int, *, embedding: int, dropout: float, scale_shift: bool
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.first_norm = nn.GroupNorm(GROUPS, channels)
        self.first = nn.Conv3d(channels, out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * out if scale_shift else out)
        self.second_norm = nn.GroupNorm(GROUPS, out)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv3d(out, out, 3, padding=1)
        self.shortcut = nn.Conv3d(channels, out, 1) if channels != out else None
        _zero(self.second)

    def forward(
        self, features: Float[Tensor, "b c f h w"], embedding: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b out f h w"]:
        """Return features with `out` channels."""
        hidden = self.first(F.silu(self.first_norm(features)))
        level = self.modulation(embedding)[..., None, None, None]
        if self.scale_shift:
            scale, shift = level.chunk(2, dim=1)
            hidden = torch.addcmul(shift, self.second_norm(hidden), 1 + scale)
        else:
            hidden = self.second_norm(hidden + level)
        hidden = self.second(self.dropout(F.silu(hidden)))
        return hidden + (features if self.shortcut is None else self.shortcut(features))


class Downsample3d(nn.Module):
    """Halve rows and columns, and frames too if `frames` says so, by a strided convolution."""

    def __init__(self, channels: int, *, frames: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, stride=(2 if frames else 1, 2, 2), padding=1)

    def forward(self, features: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f2 h2 w2"]:
        """Return features at half the resolution."""
        return self.conv(features)


class Upsample3d(nn.Module):
    """Double rows and columns by repetition, then convolve.

    Args:
        channels: Features per position.
        frames: Number of frames to return to; None: as many as come in.
    """

    def __init__(self, channels: int, *, frames: int | None) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, features: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f2 h2 w2"]:
        """Return features at double the resolution."""
        frames, height, width = features.shape[2:]
        size = (self.frames or frames, 2 * height, 2 * width)
        return self.conv(F.interpolate(features, size, mode="nearest"))


class Head3d(nn.Module):
    """Norm, SiLU and the last convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.conv = nn.Conv3d(channels, out, 3, padding=1)
        _zero(self.conv)

    def forward(self, features: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b out f h w"]:
        """Return the network's output."""
        return self.conv(F.silu(self.norm(features)))


def frame_counts(frames: int, levels: int) -> list[int | None]:
    """Return the clip's length at each resolution; 0 frames: it is never shortened.

    >>> frame_counts(20, 3)
    [20, 10, 5]
    >>> frame_counts(0, 2)
    [None, None]
    """
    return [(frames >> level) or None for level in range(levels)]


def build_unet3d(
    *,
    channels: int,
    out: int,
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    heads: int,
    heads_up: int,
    embedding: int,
    dropout: float,
    scale_shift: bool,
    shrink_frames: int,
) -> UNet:
    """Build RaMViD's network.

    Args:
        channels: Channels of the input volume.
        out: Channels of the output volume.
        widths: Features at each resolution, finest first.
        blocks: Residual blocks per resolution on the way down; one more on the way up.
        attention: Indices into `widths` of the resolutions with self-attention.
        heads: Attention heads on the way down and in the middle.
        heads_up: Attention heads on the way up.
        embedding: Features of the level embedding.
        dropout: See `ResidualBlock3d`.
        scale_shift: See `ResidualBlock3d`.
        shrink_frames: Length of the clips, which is then halved with the resolution, or 0: the
            length is free and never halved.
    """
    lengths = frame_counts(shrink_frames, len(widths))

    def residual(features: int, out: int) -> ResidualBlock3d:
        return ResidualBlock3d(
            features, out, embedding=embedding, dropout=dropout, scale_shift=scale_shift
        )

    def attend(width: int, heads: int) -> SelfAttention:
        block = SelfAttention(width, heads=heads, groups=GROUPS, eps=1e-5)
        _zero(block.out)
        return block

    skips = [widths[0]]

    def down() -> Iterator[Step]:
        for level, width in enumerate(widths):
            for _ in range(blocks):
                attends = attend(width, heads) if level in attention else None
                yield Step(residual(skips[-1], width), attention=attends)
                skips.append(width)
            if level < len(widths) - 1:
                yield Step(resample=Downsample3d(width, frames=lengths[level] is not None))
                skips.append(width)

    def up() -> Iterator[Step]:
        features = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                last = block == blocks and level > 0
                yield Step(
                    residual(features + skips.pop(), width),
                    attention=attend(width, heads_up) if level in attention else None,
                    resample=Upsample3d(width, frames=lengths[level - 1]) if last else None,
                    joins=True,
                )
                features = width

    deepest = widths[-1]
    return UNet(
        stem=nn.Conv3d(channels, widths[0], 3, padding=1),
        down=list(down()),
        middle=[
            Step(residual(deepest, deepest), attention=attend(deepest, heads)),
            Step(residual(deepest, deepest)),
        ],
        up=list(up()),
        head=Head3d(widths[0], out),
    )


def _zero(layer: nn.Conv3d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
