"""The networks by configuration: frozen values that check themselves and build a network."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from framefill.errors import InputError
from framefill.masks import Masks
from framefill.nn.checks import check_shrinking, check_sizes
from framefill.nn.config2d import ConcatConfig, ContextConfig, SpatinConfig
from framefill.nn.denoisers import VolumeDenoiser
from framefill.nn.layers import LevelEmbedding
from framefill.nn.mcvd3d import Mcvd3dConfig
from framefill.nn.spacetime_config import SpaceTimeConfig
from framefill.nn.unet3d import build_unet3d

__all__ = [
    "ConcatConfig",
    "ContextConfig",
    "Mcvd3dConfig",
    "NetworkConfig",
    "SpaceTimeConfig",
    "SpatinConfig",
    "VolumeConfig",
]


@dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """RaMViD's 3-D U-Net."""

    takes_conditions: ClassVar[bool] = False
    """Whether the network can be told conditions (`framefill.conditions`)."""

    width: int = 128
    """Features at the finest resolution (num_channels in the official flags)."""
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    """Features at each resolution, in units of width."""
    blocks: int = 2
    """Residual blocks per resolution."""
    attention: tuple[int, ...] = (2, 3)
    """Resolutions with self-attention, as indices into multipliers."""
    heads: int = 4
    """Attention heads on the way down and in the middle."""
    heads_up: int = 4
    """Attention heads on the way up."""
    dropout: float = 0.0
    """Probability of dropping a feature."""
    scale_shift: bool = True
    """The noise level scales and shifts features, instead of being added to them."""
    shrink_frames: int = 0
    """Length of the clips, halved with each resolution; 0: any length, never halved."""
    classes: int = 0
    """Number of class labels, or 0."""

    def __post_init__(self) -> None:
        check_sizes(
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            dropout=self.dropout,
        )
        if min(self.heads, self.heads_up) < 1 or self.classes < 0:
            raise InputError(f"{self} needs at least 1 head, and classes at least 0")
        check_shrinking(self.shrink_frames, len(self.multipliers))
        for multiplier in self.multipliers:
            if (self.width * multiplier) % 32:
                raise InputError(f"width {self.width} * {multiplier} must be divisible by 32")
        for level in (*self.attention, len(self.multipliers) - 1):
            features = self.width * self.multipliers[level]
            if features % self.heads or features % self.heads_up:
                raise InputError(
                    f"{self.heads} and {self.heads_up} heads must divide the {features} features"
                )

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: `shrink_frames` is not the length of the masks' clips.
        """
        if self.shrink_frames not in (0, masks.frames):
            raise InputError(
                f"shrink_frames {self.shrink_frames} must be the clips' length {masks.frames}, or 0"
            )
        embedding = LevelEmbedding(self.width, "cos-sin", classes=self.classes)
        unet = build_unet3d(
            channels=channels,
            out=channels * (2 if learned_spread else 1),
            widths=[self.width * m for m in self.multipliers],
            blocks=self.blocks,
            attention=self.attention,
            heads=self.heads,
            heads_up=self.heads_up,
            embedding=4 * self.width,
            dropout=self.dropout,
            scale_shift=self.scale_shift,
            shrink_frames=self.shrink_frames,
        )
        return VolumeDenoiser(unet, embedding)

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return 2 ** (len(self.multipliers) - 1)


NetworkConfig = (
    ConcatConfig | SpatinConfig | Mcvd3dConfig | ContextConfig | VolumeConfig | SpaceTimeConfig
)
