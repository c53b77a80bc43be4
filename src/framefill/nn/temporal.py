"""Layers that mix the frames of clips whose frames are folded into the batch: [(b f) c h w].

Spatial layers then see frames as images, each with its own statistics, and these layers alone pass
anything from one frame to another.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from framefill.nn.layers import single_on_cpu
from framefill.nn.unet2d import group_norm

REACHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)  # frames
MAX_LINES = 65_535  # of one attention call: CUDA's kernels refuse more


class TemporalConv(nn.Module):
    """Residual convolution over three frames at every position; at first it changes nothing.

    Args:
        channels: Features per position.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.out = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))

    def forward(
        self, features: Float[Tensor, "bf c h w"], frames: int
    ) -> Float[Tensor, "bf c h w"]:
        """Return features of the same shape.

        Args:
            features: The folded clips.
            frames: Length of a clip.
        """
        hidden = F.silu(self.norm(features))
        # Frames become the rows of an image, which is faster on CPUs than a 3-D convolution.
        update = self.out(rearrange(hidden, "(b f) c h w -> b c f (h w)", f=frames))
        return features + rearrange(update, "b c f (h w) -> (b f) c h w", h=features.shape[2])


class RelativeBias(nn.Module):
    """How much a frame attends to another, as a smooth function of how far that is, by its side.

    A weighted sum of decays exp(-distance / reach), some of them of opposite sign for earlier
    frames. It levels off where all have decayed, so it holds for longer clips than those trained
    on. At first it is 0.

    Args:
        heads: Attention heads, each with its own function.
    """

    reaches: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("reaches", torch.tensor(REACHES), persistent=False)
        self.weight = nn.Linear(2 * len(REACHES), heads, bias=False)

    def forward(self, frames: int) -> Float[Tensor, "1 heads {frames} {frames}"]:
        """Return what is added to the attention of each frame (rows) to each (columns)."""
        place = torch.arange(frames, device=self.reaches.device)
        distance = torch.arange(1 - frames, frames, device=self.reaches.device)[:, None]
        decays = torch.exp(-distance.abs() / self.reaches)
        table = self.weight(torch.cat([decays, decays * distance.sign()], dim=1))
        offset = place - place[:, None] + frames - 1
        return rearrange(table[offset], "query key heads -> 1 heads query key")


class TemporalAttention(nn.Module):
    """Residual self-attention among the frames of each position; at first it changes nothing.

    Args:
        channels: Features per position.
        heads: Number of heads; must divide `channels`.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.bias = RelativeBias(heads)
        self.out = nn.Linear(channels, channels)

    def forward(
        self, features: Float[Tensor, "bf c h w"], frames: int
    ) -> Float[Tensor, "bf c h w"]:
        """Return features of the same shape.

        Args:
            features: The folded clips.
            frames: Length of a clip.
        """
        height, width = features.shape[2:]
        lines = rearrange(self.norm(features), "(b f) c h w -> (b h w) f c", f=frames)
        pattern = "n f (three heads d) -> three n heads f d"
        split = rearrange(self.qkv(lines), pattern, three=3, heads=self.heads)
        bias = self.bias(frames).to(split.dtype)
        parts = [
            single_on_cpu(F.scaled_dot_product_attention, *part.unbind(0), bias)
            for part in split.split(MAX_LINES, dim=1)
        ]
        update = self.out(rearrange(torch.cat(parts), "n heads f d -> n f (heads d)"))
        return features + rearrange(update, "(b h w) f c -> (b f) c h w", h=height, w=width)


class SpaceTimeBlock(nn.Module):
    """A residual block for images, each with its frame's embedding, then mixing over time.

    Args:
        space: Called with images and their embeddings.
        times: Each called with the folded clips and their length.
    """

    def __init__(self, space: nn.Module, times: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.space, self.times = space, nn.ModuleList(times)

    def forward(
        self, features: Float[Tensor, "bf c h w"], embedding: Float[Tensor, "b f e"]
    ) -> Float[Tensor, "bf out h2 w2"]:
        """Return the space block's features, of which each frame has seen others.

        Args:
            features: The folded clips.
            embedding: Of every frame; its shape is also what says how the clips were folded.
        """
        features = self.space(features, embedding.flatten(0, 1))
        for time in self.times:
            features = time(features, embedding.shape[1])
        return features
