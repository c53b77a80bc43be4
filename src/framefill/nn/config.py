"""The networks by configuration: frozen values that check themselves and build a network."""

from dataclasses import dataclass

from torch import nn

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks
from framefill.nn.denoisers import ConcatDenoiser, ContextDenoiser, VolumeDenoiser
from framefill.nn.layers import LevelEmbedding
from framefill.nn.unet import UNet
from framefill.nn.unet2d import build_unet2d
from framefill.nn.unet3d import build_unet3d

MAX_WIDTH, MAX_LEVELS, MAX_BLOCKS = 8192, 10, 64


@dataclass(frozen=True, kw_only=True)
class ConcatConfig:
    """MCVD's 2-D U-Net with the known frames as further channels; needs `BlockMasks`."""

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
        _check(self)
        _check_head_width(self.width, self.multipliers, self.attention, self.head_width)

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not blocks, or a learned variance is asked for.
        """
        if not isinstance(masks, BlockMasks):
            raise InputError(f"a concat network sees fixed blocks: it can't have {masks}")
        if learned_spread:
            raise InputError("a concat network has no learned variance: turn learned_spread off")
        embedding = LevelEmbedding(self.width, "sin-cos")
        unet = _image_unet(self, channels=masks.frames * channels, out=masks.target * channels)
        return ConcatDenoiser(unet, embedding, past=masks.past, target=masks.target)

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return 2 ** (len(self.multipliers) - 1)


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Our 2-D U-Net over stacked frames that is told their roles; needs `ContextMasks`."""

    width: int = 64
    """Features at the finest resolution."""
    multipliers: tuple[int, ...] = (1, 2, 2)
    """Features at each resolution, in units of width."""
    blocks: int = 2
    """Residual blocks per resolution."""
    attention: tuple[int, ...] = (2,)
    """Resolutions with self-attention, as indices into multipliers."""
    head_width: int | None = 64
    """Features per attention head; none: one head."""
    dropout: float = 0.0
    """Probability of dropping a feature."""
    patch: int = 2
    """Side of the pixel patches that are folded into channels."""

    def __post_init__(self) -> None:
        _check(self)
        _check_head_width(self.width, self.multipliers, self.attention, self.head_width)
        if self.patch < 1:
            raise InputError(f"patch {self.patch} must be at least 1")

    def build(self, *, channels: int, masks: Masks, learned_spread: bool = False) -> nn.Module:
        """Build the network for clips of `channels` channels.

        Raises:
            InputError: the masks are not `ContextMasks`, or a learned variance is asked for.
        """
        if not isinstance(masks, ContextMasks):
            raise InputError(f"a context network fills blocks amid context: it can't have {masks}")
        if learned_spread:
            raise InputError("a context network has no learned variance: turn learned_spread off")
        embedding = LevelEmbedding(self.width, "sin-cos")
        pixels = channels * self.patch**2
        unet = _image_unet(self, channels=masks.frames * (pixels + 2), out=masks.target * pixels)
        return ContextDenoiser(
            unet, embedding, past=masks.past, target=masks.target, patch=self.patch
        )

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


@dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """RaMViD's 3-D U-Net."""

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
        _check(self)
        if min(self.heads, self.heads_up) < 1 or self.classes < 0:
            raise InputError(f"{self} needs at least 1 head, and classes at least 0")
        _check_shrinking(self.shrink_frames, len(self.multipliers))
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


NetworkConfig = ConcatConfig | ContextConfig | VolumeConfig


def _image_unet(config: ConcatConfig | ContextConfig, *, channels: int, out: int) -> UNet:
    return build_unet2d(
        channels=channels,
        out=out,
        widths=[config.width * m for m in config.multipliers],
        blocks=config.blocks,
        attention=config.attention,
        head_width=config.head_width,
        embedding=4 * config.width,
        dropout=config.dropout,
    )


def _check(config: "NetworkConfig") -> None:
    """Refuse what makes no network, or one so large that building it would never end."""
    width, multipliers, blocks = config.width, config.multipliers, config.blocks
    if not 4 <= width <= MAX_WIDTH:
        raise InputError(f"width {width} must be in 4..{MAX_WIDTH}")
    if not 0 <= config.dropout < 1:
        raise InputError(f"dropout {config.dropout} must be at least 0 and below 1")
    sizes = min(multipliers, default=0) >= 1 and max(multipliers, default=0) <= MAX_WIDTH
    if len(multipliers) > MAX_LEVELS or not sizes:
        raise InputError(
            f"multipliers {multipliers}: needs 1 to {MAX_LEVELS} values, each at least 1"
        )
    if not 1 <= blocks <= MAX_BLOCKS:
        raise InputError(f"blocks {blocks} must be in 1..{MAX_BLOCKS}")
    if outside := [level for level in config.attention if not 0 <= level < len(multipliers)]:
        raise InputError(f"attention at resolution {outside}: there are {len(multipliers)}, from 0")


def _check_head_width(
    width: int, multipliers: tuple[int, ...], attention: tuple[int, ...], head_width: int | None
) -> None:
    if head_width is not None and head_width < 1:
        raise InputError(f"head_width {head_width} must be at least 1, or none")
    for level in (*attention, len(multipliers) - 1):
        features = width * multipliers[level]
        if head_width is not None and features >= head_width and features % head_width:
            raise InputError(f"heads of {head_width} features don't divide {features} features")


def _check_shrinking(frames: int, levels: int) -> None:
    """Refuse lengths that the way up would not restore: it halves down, convolutions up."""
    length = frames
    for level in range(levels - 1):
        if length != frames >> level:
            raise InputError(f"shrink_frames {frames} can't be halved {level} times and back")
        length = -(-length // 2) if frames >> level else length
