"""framefill's own network by configuration."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from framefill.conditions import Condition
from framefill.errors import InputError
from framefill.masks import Masks
from framefill.nn.checks import check_head_width, check_sizes
from framefill.nn.spacetime import (
    PLANES,
    FrameEmbedding,
    SpaceTimeDenoiser,
    build_space_time_unet,
    initialise_space_time,
)
from framefill.nn.unet2d import Parts


@dataclass(frozen=True, kw_only=True)
class SpaceTimeConfig:
    """Our space-time U-Net: any masks, clip length, missing pixels and conditions."""

    takes_conditions: ClassVar[bool] = True
    """Whether the network can be told conditions (`framefill.conditions`)."""

    width: int = 64
    """Features at the finest resolution."""
    multipliers: tuple[int, ...] = (1, 2, 4)
    """Features at each resolution, in units of width."""
    blocks: int = 2
    """Residual blocks per resolution."""
    attention: tuple[int, ...] = (2,)
    """Resolutions with self-attention within each frame, as indices into multipliers."""
    temporal_attention: tuple[int, ...] = (1, 2)
    """Resolutions with self-attention among the frames, as indices into multipliers."""
    head_width: int = 32
    """Features per attention head."""
    dropout: float = 0.0
    """Probability of dropping a feature."""
    patch: int = 1
    """Side of the pixel patches that are folded into channels."""
    classes: int = 0
    """Number of class labels, or 0."""
    class_dropout: float = 0.1
    """Share of the training clips whose class is hidden, so that the model works without it too."""

    def __post_init__(self) -> None:
        for name in ("attention", "temporal_attention"):
            levels = getattr(self, name)
            if outside := [level for level in levels if not 0 <= level < len(self.multipliers)]:
                raise InputError(
                    f"{name} at resolution {outside}: there are {len(self.multipliers)}, from 0"
                )
        check_sizes(
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            dropout=self.dropout,
        )
        attends = (*self.attention, *self.temporal_attention)
        check_head_width(self.width, self.multipliers, attends, self.head_width)
        if not 0 <= self.class_dropout < 1:
            raise InputError(f"class_dropout {self.class_dropout} must be at least 0 and below 1")
        if self.patch < 1 or self.classes < 0:
            raise InputError(
                f"patch {self.patch} must be at least 1 and classes {self.classes} at least 0"
            )

    def build(
        self,
        *,
        channels: int,
        masks: Masks,
        learned_spread: bool = False,
        conditions: tuple[Condition, ...] = (),
    ) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Args:
            channels: Channels of a frame.
            masks: Any: the network takes every row, so it doesn't depend on them.
            learned_spread: The output has a second half of channels.
            conditions: What the network may be told.
        """
        sizes = [c.size for c in conditions if c.kind == "vector"]
        embedding = FrameEmbedding(self.width, classes=self.classes, vectors=sizes)
        parts = Parts(
            embedding=embedding.features, head_width=self.head_width, dropout=self.dropout
        )
        maps = sum(c.size for c in conditions if c.kind != "vector")
        unet = build_space_time_unet(
            parts,
            channels=(channels + 1 + 2 * maps) * self.patch**2 + len(PLANES),
            out=channels * (2 if learned_spread else 1) * self.patch**2,
            widths=[self.width * m for m in self.multipliers],
            blocks=self.blocks,
            attention=self.attention,
            temporal_attention=self.temporal_attention,
            head_width=self.head_width,
        )
        denoiser = SpaceTimeDenoiser(unet, embedding, conditions=conditions, patch=self.patch)
        initialise_space_time(denoiser)
        return denoiser

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return self.patch * 2 ** (len(self.multipliers) - 1)
