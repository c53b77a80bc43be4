"""The 3-D and "pseudo-3-D" forms of MCVD's U-Net, which its paper leaves out.

Frames are the depth of a volume, in the order target, past, future. The concatenating form has all
frames on the way down and the target's alone on the way up; with SPATIN there are never others.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.masks import Masks
from framefill.nn.checks import check_hidden
from framefill.nn.config2d import UNetConfig, blocks_of, parts_of, started
from framefill.nn.denoisers import ConcatDenoiser, SpatinDenoiser
from framefill.nn.layers import LevelEmbedding, SelfAttention, single_on_cpu
from framefill.nn.spatin import SpatinNorm
from framefill.nn.unet import UNet
from framefill.nn.unet2d import group_norm


class VolumeUNet(UNet):
    """A U-Net over volumes, for images whose channels are frames.

    Args:
        channels: Channels of one frame.
        **parts: See `UNet`.
    """

    def __init__(self, *, channels: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.channels = channels

    def forward(
        self, image: Float[Tensor, "b fc h w"], embedding: Float[Tensor, "b e"], *context: Any
    ) -> Float[Tensor, "b gc h w"]:
        """Return the output, with frames as channels again."""
        volume = rearrange(image, "b (f c) h w -> b c f h w", c=self.channels)
        return rearrange(super().forward(volume, embedding, *context), "b c f h w -> b (f c) h w")


class SeparableConv(nn.Module):
    """A convolution over space, SiLU, and a convolution over frames ("pseudo-3-D")."""

    def __init__(self, channels: int, out: int, window: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, out, window, padding=window // 2)
        self.time = nn.Conv1d(out, out, window, padding=window // 2)

    def forward(self, volume: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b out f h w"]:
        """Return features of the same size."""
        clips, _, _, height, width = volume.shape
        frames = F.silu(self.space(rearrange(volume, "b c f h w -> (b f) c h w")))
        lines = self.time(rearrange(frames, "(b f) c h w -> (b h w) c f", b=clips))
        return rearrange(lines, "(b h w) c f -> b c f h w", h=height, w=width)


class Conv3d(nn.Conv3d):
    """A convolution over volumes, in float32 on CPUs.

    In bfloat16 torch computes wrong gradients there for volumes two frames deep (2.13).
    """

    def forward(self, volume: Tensor) -> Tensor:
        """Return features [b out f h w]."""
        return single_on_cpu(super().forward, volume)


def conv3d(channels: int, out: int, window: int) -> Conv3d:
    """Return a convolution that keeps the size."""
    return Conv3d(channels, out, window, padding=window // 2)


class SpaceTimeAttention(nn.Module):
    """Attention among the positions of each frame, then among the frames of each position."""

    def __init__(self, channels: int, *, heads: int, groups: int, eps: float, scale: float) -> None:
        super().__init__()
        block = partial(SelfAttention, channels, heads=heads, groups=groups, eps=eps, scale=scale)
        self.space, self.time = block(), block()

    def forward(self, volume: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f h w"]:
        """Return features of the same shape."""
        clips, _, _, height, width = volume.shape
        frames = self.space(rearrange(volume, "b c f h w -> (b f) c h w"))
        lines = self.time(rearrange(frames, "(b f) c h w -> (b h w) c f", b=clips))
        return rearrange(lines, "(b h w) c f -> b c f h w", h=height, w=width)


class FrameMix(nn.Module):
    """Each output frame is one weighted sum of all frames, the same everywhere."""

    def __init__(self, frames: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(frames, out, 1)

    def forward(self, volume: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c g h w"]:
        """Return volumes of `out` frames."""
        images = self.conv(rearrange(volume, "b c f h w -> (b c) f h w"))
        return rearrange(images, "(b c) g h w -> b c g h w", b=len(volume))


class FrameConverter(nn.Module):
    """Known frames, as channels of an image, become a volume of the target's length.

    Args:
        conv: Convolution from known to target frames, of which a frame's channels are the depth.
        known: Number of known frames.
    """

    def __init__(self, conv: nn.Module, known: int) -> None:
        super().__init__()
        self.conv, self.known = conv, known

    def forward(self, image: Float[Tensor, "b kc h w"]) -> Float[Tensor, "b c f h w"]:
        """Return the volume."""
        frames = rearrange(image, "b (k c) h w -> b k c h w", k=self.known)
        return self.conv(frames).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class Mcvd3dConfig(UNetConfig):
    """MCVD's 3-D U-Nets, not in its paper: frames are the depth of a volume; needs `BlockMasks`."""

    width: int = 12
    """Features of one frame at the finest resolution (ngf in the official configs)."""
    multipliers: tuple[int, ...] = (1, 1, 2, 2)
    """Features at each resolution, in units of width."""
    blocks: int = 1
    """Residual blocks per resolution."""
    attention: tuple[int, ...] = (2,)
    """Resolutions with self-attention, as indices into multipliers."""
    head_width: int | None = None
    """Features per attention head; none: one head."""
    separable: bool = False
    """Convolutions over space and then over frames (unetmorepseudo3d in the official configs)."""
    hidden: int = 0
    """Above 0: the known frames act in every norm (SPATIN), with so many features for all frames
    (spade_dim); 0: they are further frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden:
            check_hidden(self.hidden)

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not blocks, SPATIN has no known frames or too few features,
                or a learned variance is asked for.
        """
        blocks = blocks_of(masks, learned_spread)
        known, frames = blocks.past + blocks.future, blocks.frames
        if self.hidden:
            frames = blocks.target
        if self.hidden and not (known and self.hidden >= frames):
            raise InputError(
                f"SPATIN with {self.hidden} features for {frames} target and {known} known frames: "
                "needs known frames, and a feature for each of its target"
            )
        conv = SeparableConv if self.separable else conv3d

        def spatin(features: int) -> SpatinNorm:
            return SpatinNorm(
                group_norm(features, affine=False, eps=1e-6),
                enter=FrameConverter(conv(known, frames, 1), known),
                conv=conv,
                known=channels,
                hidden=self.hidden // frames,
                channels=features,
            )

        embedding = LevelEmbedding(self.width * frames, "sin-cos")
        parts = replace(
            parts_of(self, embedding, spatin=spatin if self.hidden else None),
            conv=conv,
            attention=SpaceTimeAttention,
            mix=None if self.hidden else partial(FrameMix, frames, blocks.target),
            skeleton=partial(VolumeUNet, channels=channels),
        )
        unet = self.unet(parts, channels=channels, out=channels)
        kind = SpatinDenoiser if self.hidden else ConcatDenoiser
        return started(kind(unet, embedding, past=blocks.past, target=blocks.target))
