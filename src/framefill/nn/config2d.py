"""MCVD's 2-D networks, and ours like them, by configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks
from framefill.nn.checks import check_head_width, check_hidden, check_sizes
from framefill.nn.denoisers import ConcatDenoiser, ContextDenoiser, SpatinDenoiser
from framefill.nn.layers import LevelEmbedding
from framefill.nn.spatin import SpatinNorm
from framefill.nn.unet import UNet
from framefill.nn.unet2d import Parts, build_unet2d, conv2d, group_norm, initialise_like_ddpm


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """What the configurations of all networks like MCVD's have in common."""

    takes_conditions: ClassVar[bool] = False
    """Whether the network can be told conditions (`framefill.conditions`)."""

    width: int = 64
    """Features at the finest resolution (ngf in the official configs)."""
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    """Features at each resolution, in units of width."""
    blocks: int = 2
    """Residual blocks per resolution."""
    attention: tuple[int, ...] = (1, 2, 3)
    """Resolutions with self-attention, as indices into multipliers."""
    head_width: int | None = 64
    """Features per attention head; none: one head."""
    dropout: float = 0.1
    """Probability of dropping a feature."""

    def __post_init__(self) -> None:
        check_sizes(
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            dropout=self.dropout,
        )
        check_head_width(self.width, self.multipliers, self.attention, self.head_width)

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return 2 ** (len(self.multipliers) - 1)

    def unet(self, parts: Parts, *, channels: int, out: int) -> UNet:
        """Build the U-Net from its parts."""
        return build_unet2d(
            parts,
            channels=channels,
            out=out,
            widths=[self.width * m for m in self.multipliers],
            blocks=self.blocks,
            attention=self.attention,
        )


@dataclass(frozen=True, kw_only=True)
class ConcatConfig(UNetConfig):
    """MCVD's 2-D U-Net with the known frames as further channels; needs `BlockMasks`."""

    told_past: bool = False
    """The network is told whether the past is there (cond_emb in the official configs)."""

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not blocks, or a learned variance is asked for.
        """
        blocks = blocks_of(masks, learned_spread)
        embedding = LevelEmbedding(self.width, "sin-cos", told_past=self.told_past)
        parts = parts_of(self, embedding)
        unet = self.unet(parts, channels=blocks.frames * channels, out=blocks.target * channels)
        return started(ConcatDenoiser(unet, embedding, past=blocks.past, target=blocks.target))


@dataclass(frozen=True, kw_only=True)
class SpatinConfig(UNetConfig):
    """MCVD's 2-D U-Net with the known frames in every norm (SPATIN); needs `BlockMasks`."""

    hidden: int = 128
    """Features between the known frames and their maps (spade_dim in the official configs)."""
    told_past: bool = False
    """The network is told whether the past is there (cond_emb in the official configs)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_hidden(self.hidden)

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not blocks with a past or a future, or a learned variance is
                asked for.
        """
        blocks = blocks_of(masks, learned_spread)
        known = (blocks.past + blocks.future) * channels
        if not known:
            raise InputError(f"SPATIN needs known frames: {masks} has neither past nor future")

        def spatin(features: int) -> SpatinNorm:
            norm = group_norm(features, affine=False, eps=1e-6)
            return SpatinNorm(norm, conv=conv2d, known=known, hidden=self.hidden, channels=features)

        embedding = LevelEmbedding(self.width, "sin-cos", told_past=self.told_past)
        target = blocks.target * channels
        unet = self.unet(parts_of(self, embedding, spatin=spatin), channels=target, out=target)
        return started(SpatinDenoiser(unet, embedding, past=blocks.past, target=blocks.target))


@dataclass(frozen=True, kw_only=True)
class ContextConfig(UNetConfig):
    """Our 2-D U-Net over stacked frames that is told their roles; needs `ContextMasks`."""

    multipliers: tuple[int, ...] = (1, 2, 2)
    """Features at each resolution, in units of width."""
    attention: tuple[int, ...] = (2,)
    """Resolutions with self-attention, as indices into multipliers."""
    dropout: float = 0.0
    """Probability of dropping a feature."""
    patch: int = 2
    """Side of the pixel patches that are folded into channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch < 1:
            raise InputError(f"patch {self.patch} must be at least 1")

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not `ContextMasks`, or a learned variance is asked for.
        """
        if not isinstance(masks, ContextMasks):
            raise InputError(f"a context network fills blocks amid context: it can't have {masks}")
        refuse_spread(learned_spread)
        embedding = LevelEmbedding(self.width, "sin-cos")
        pixels = channels * self.patch**2
        unet = self.unet(
            parts_of(self, embedding),
            channels=masks.frames * (pixels + 2),
            out=masks.target * pixels,
        )
        denoiser = ContextDenoiser(
            unet, embedding, past=masks.past, target=masks.target, patch=self.patch
        )
        return started(denoiser)

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return self.patch * super().divisor


def parts_of(
    config: UNetConfig,
    embedding: LevelEmbedding,
    *,
    spatin: Callable[[int], SpatinNorm] | None = None,
) -> Parts:
    """Return what a configuration says of a U-Net's parts."""
    return Parts(
        embedding=embedding.features,
        head_width=config.head_width,
        dropout=config.dropout,
        spatin=spatin,
    )


def blocks_of(masks: Masks, learned_spread: bool) -> BlockMasks:
    """Refuse masks, and a learned variance, that networks of blocks can't have."""
    if not isinstance(masks, BlockMasks):
        raise InputError(f"this network sees fixed blocks: it can't have {masks}")
    refuse_spread(learned_spread)
    return masks


def started(denoiser: nn.Module) -> nn.Module:
    """Return a network with its first weights."""
    initialise_like_ddpm(denoiser)
    return denoiser


def refuse_spread(learned_spread: bool) -> None:
    """Refuse a learned variance."""
    if learned_spread:
        raise InputError("this network has no learned variance: turn learned_spread off")
