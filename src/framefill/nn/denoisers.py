"""The ways in which a network sees a canvas; each is a `framefill.types.Denoiser`."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from framefill.nn.layers import LevelEmbedding
from framefill.nn.unet import UNet
from framefill.roles import Role, having
from framefill.types import Clip, Roles


class ConcatDenoiser(nn.Module):
    """Frames are channels of one image, in the fixed blocks target, past, future (MCVD).

    The TARGET frames are the clip's frames past..past+target; the output for others is zero.

    Args:
        unet: Takes (target + past + future) * channels, gives target * channels.
        embedding: Of the one noise level that the TARGET frames share.
        past: Frames before the target block.
        target: Frames of the target block.
    """

    def __init__(self, unet: UNet, embedding: LevelEmbedding, *, past: int, target: int) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding
        self.past, self.end = past, past + target

    def forward(self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles) -> Clip:
        """See `framefill.types.Denoiser`."""
        past, end = self.past, self.end
        ordered = torch.cat([canvas[:, past:end], canvas[:, :past], canvas[:, end:]], dim=1)
        image = rearrange(ordered, "b f c h w -> b (f c) h w")
        output = self.unet(image, self.embedding(labels[:, past]))
        target = rearrange(output, "b (f c) h w -> b f c h w", f=end - past)
        after = canvas.shape[1] - end
        return nn.functional.pad(target, (0, 0, 0, 0, 0, 0, past, after))


class VolumeDenoiser(nn.Module):
    """Frames are the depth of a volume; the network has to guess which ones are clean (RaMViD).

    Args:
        unet: Takes a volume of the clip's channels.
        embedding: Of the one noise level that the TARGET frames share.
    """

    def __init__(self, unet: UNet, embedding: LevelEmbedding) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding

    def forward(
        self,
        canvas: Clip,
        labels: Float[Tensor, "b f"],
        roles: Roles,
        classes: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b f out h w"]:
        """See `framefill.types.Denoiser`; `classes` is for networks with class labels."""
        first = (roles == Role.TARGET).to(torch.int8).argmax(dim=1, keepdim=True)
        label = labels.gather(1, first)[:, 0]
        volume = rearrange(canvas, "b f c h w -> b c f h w")
        output = self.unet(volume, self.embedding(label, classes))
        return rearrange(output, "b c f h w -> b f c h w")


class ContextDenoiser(nn.Module):
    """Frames are channels of one image, in order, and the network is told their roles.

    Each frame comes with two planes that say whether it is KNOWN and whether it is a TARGET, and
    square patches of pixels are folded into channels. TARGET frames are among the clip's frames
    past..past+target; the output for others is zero.

    Args:
        unet: Takes frames * (channels * patch² + 2) channels, gives target * channels * patch².
        embedding: Of the noise level of the TARGET frames.
        past: Frames before the target block.
        target: Frames of the longest target block.
        patch: Side of the folded patches, in pixels.
    """

    def __init__(
        self, unet: UNet, embedding: LevelEmbedding, *, past: int, target: int, patch: int
    ) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding
        self.past, self.target, self.patch = past, target, patch

    def forward(self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles) -> Clip:
        """See `framefill.types.Denoiser`."""
        pattern = "b f c (h p) (w q) -> b (f c p q) h w"
        image = rearrange(canvas, pattern, p=self.patch, q=self.patch)
        planes = [having(roles, role)[:, :, 0].to(canvas) for role in (Role.KNOWN, Role.TARGET)]
        told = torch.cat(planes, dim=1).expand(-1, -1, *image.shape[-2:])
        output = self.unet(torch.cat([image, told], dim=1), self.embedding(labels[:, self.past]))
        inverse = "b (f c p q) h w -> b f c (h p) (w q)"
        target = rearrange(output, inverse, f=self.target, p=self.patch, q=self.patch)
        after = canvas.shape[1] - self.past - self.target
        return nn.functional.pad(target, (0, 0, 0, 0, 0, 0, self.past, after))
