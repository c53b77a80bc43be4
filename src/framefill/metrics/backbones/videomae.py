"""VideoMAE, whose features the content-debiased Fréchet Video Distance compares.

Wang et al. 2023, "VideoMAE V2", the network ViT-g/14 fine-tuned on Something-Something V2, as Ge
et al. 2024, "On the Content Bias in Fréchet Video Distance", use it (cd-fvd,
third_party/VideoMAEv2/videomaev2_finetune.py, VisionTransformer.forward_features).
"""

import re
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.metrics.backbones.state import State

SIDE, FRAMES = 224, 16
EPSILON = 1e-6  # of the normalisations
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}  # by width: ViT-S, B, L, H and g
UNUSED = ("head.",)  # the classifier

Tokens = Float[Tensor, "n tokens width"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of the network.

    Args:
        width: Numbers per token.
        depth: Number of blocks.
        heads: Number of heads of attention.
        hidden: Width inside of the perceptrons.
        patch: Pixels a side of a token.
        tubelet: Frames of a token.
        side: Pixels a side of the video.
        frames: Frames of the video.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    tubelet: int = 2
    side: int = SIDE
    frames: int = FRAMES

    @property
    def tokens(self) -> int:
        """Number of tokens of a video."""
        return self.frames // self.tubelet * (self.side // self.patch) ** 2


GIANT = Sizes(width=1408, depth=40, heads=16, hidden=6144, patch=14)


class Attention(nn.Module):
    """Attention of each token to all tokens; keys have no bias."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(sizes.width))
        self.v_bias = nn.Parameter(torch.zeros(sizes.width))
        self.proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return what each token takes in from the others."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(tokens, self.qkv.weight, bias)
        shape = (*tokens.shape[:2], 3, self.heads, -1)
        query, key, value = qkv.reshape(shape).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two layers, applied to each token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the second layer's output."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and a perceptron, each added to what it was given."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=EPSILON)
        self.attn = Attention(sizes)
        self.norm2 = nn.LayerNorm(sizes.width, eps=EPSILON)
        self.mlp = Perceptron(sizes)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the tokens with what this block adds."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VideoMae(nn.Module):
    """The fine-tuned encoder, without its classifier.

    Args:
        sizes: Of the network.
    """

    positions: Tensor

    def __init__(self, sizes: Sizes = GIANT) -> None:
        super().__init__()
        size = (sizes.tubelet, sizes.patch, sizes.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, sizes.width, size, stride=size)})
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.depth))
        self.fc_norm = nn.LayerNorm(sizes.width, eps=EPSILON)
        # From NumPy, so that they have values also where the weights are on the meta device yet.
        positions = torch.from_numpy(sinusoids(sizes.tokens, sizes.width))
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, videos: Float[Tensor, "n 3 f y x"]) -> Float[Tensor, "n width"]:
        """Return the normalised mean of the tokens of each video.

        Args:
            videos: Red, green and blue in 0..1.
        """
        tokens = self.patch_embed["proj"](videos).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc_norm(tokens.mean(dim=1))


def build(state: State) -> VideoMae:
    """Return the network with the weights of a file, from whose shapes its sizes are read.

    The number of heads leaves no trace in them: it is known for the five published widths, and
    for others there is one for every 64 numbers.

    Raises:
        InputError: the weights are not those of a fine-tuned VideoMAE of 16 frames.
    """
    width, _, tubelet, patch, _ = state.shape("patch_embed.proj.weight", 5)
    sizes = Sizes(
        width=width,
        depth=sum(bool(re.fullmatch(r"blocks\.\d+\.norm1\.weight", n)) for n in state.weights),
        heads=HEADS.get(width) or max(width // 64, 1),
        hidden=state.shape("blocks.0.mlp.fc1.weight", 2)[0],
        patch=patch,
        tubelet=tubelet,
    )
    if width % sizes.heads or SIDE % patch or FRAMES % tubelet:
        raise InputError(
            f"{state.path} has tokens of {width} numbers for {tubelet} x {patch} x {patch} pixels, "
            f"which divide no video of {FRAMES} x {SIDE} x {SIDE}: give {state.what}"
        )
    with torch.device("meta"):
        network = VideoMae(sizes)
    state.fill(network, unused=UNUSED)
    return network


def prepare(pictures: Float[Tensor, "n 3 f y x"]) -> Float[Tensor, "n 3 f y x"]:
    """Return pictures of 0..1 as they are: cd-fvd takes no mean away, unlike the training."""
    return pictures


def sinusoids(tokens: int, width: int) -> Float32[np.ndarray, "{tokens} {width}"]:
    """Return the position of each token as sines (even places) and cosines (odd places).

    (Vaswani et al. 2017, Section 3.5.)
    """
    place = np.arange(width)
    angles = np.arange(tokens)[:, None] / 10000 ** (2 * (place // 2) / width)
    return np.where(place % 2, np.cos(angles), np.sin(angles)).astype(np.float32)
