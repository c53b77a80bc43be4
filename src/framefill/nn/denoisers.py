"""The ways in which a network sees a canvas; each is a `framefill.types.Denoiser`."""

from functools import cache, partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from framefill.nn.layers import LevelEmbedding
from framefill.nn.spatin import Context, Maps
from framefill.nn.unet import UNet
from framefill.roles import Role, having
from framefill.told import Told
from framefill.types import Clip, Denoiser, Roles


class BlockDenoiser(nn.Module):
    """A network for the fixed blocks past, target, future; its output for others is zero (MCVD).

    Args:
        unet: Gives an image of the target frames' channels.
        embedding: Of the one noise level that the TARGET frames share.
        past: Frames before the target block.
        target: Frames of the target block.
    """

    def __init__(self, unet: UNet, embedding: LevelEmbedding, *, past: int, target: int) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding
        self.past, self.end = past, past + target

    def target_image(self, canvas: Clip) -> Float[Tensor, "b fc h w"]:
        """Return the target block, frames as channels."""
        return canvas[:, self.past : self.end].flatten(1, 2)

    def known_image(self, canvas: Clip) -> Float[Tensor, "b fc h w"]:
        """Return past and future, frames as channels."""
        return torch.cat([canvas[:, : self.past], canvas[:, self.end :]], dim=1).flatten(1, 2)

    def told(self, labels: Float[Tensor, "b f"], roles: Roles) -> Float[Tensor, "b e"]:
        """Embed the noise level, and whether the past is there."""
        past = (roles[:, : self.past] == Role.KNOWN).any(dim=1) | (self.past == 0)
        return self.embedding(labels[:, self.past], past=past)

    def on_the_clip(self, target: Float[Tensor, "b fc h w"], canvas: Clip) -> Clip:
        """Put the network's output in its place in the clip."""
        frames = rearrange(target, "b (f c) h w -> b f c h w", f=self.end - self.past)
        after = canvas.shape[1] - self.end
        return nn.functional.pad(frames, (0, 0, 0, 0, 0, 0, self.past, after))


class ConcatDenoiser(BlockDenoiser):
    """All frames are channels of one image, in the order target, past, future (MCVD)."""

    def forward(self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles) -> Clip:
        """See `framefill.types.Denoiser`."""
        image = torch.cat([self.target_image(canvas), self.known_image(canvas)], dim=1)
        return self.on_the_clip(self.unet(image, self.told(labels, roles)), canvas)


class SpatinDenoiser(BlockDenoiser):
    """Target frames are channels of one image; the known ones act in every norm (MCVD)."""

    def forward(self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles) -> Clip:
        """See `framefill.types.Denoiser`."""
        known = self.known_image(canvas)
        return self._predict(lambda norm, size: norm.maps(known, size), canvas, labels, roles)

    def prepare(self, canvas: Clip, roles: Roles) -> Denoiser:
        """Return a denoiser for these known frames, whose maps are computed once.

        Clips with the same known frames, such as several ways to fill one video, share them.
        """
        known, place = torch.unique(self.known_image(canvas), dim=0, return_inverse=True)
        maps_of = cache(lambda norm, size: norm.maps(known, size))
        if len(known) == 1:
            return partial(self._predict, maps_of)  # they broadcast
        return partial(
            self._predict, lambda norm, size: Maps(*(m[place] for m in maps_of(norm, size)))
        )

    def _predict(
        self, context: Context, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Clip:
        output = self.unet(self.target_image(canvas), self.told(labels, roles), context)
        return self.on_the_clip(output, canvas)


class VolumeDenoiser(nn.Module):
    """Frames are the depth of a volume; the network has to guess which ones are clean (RaMViD).

    Args:
        unet: Takes a volume of the clip's channels.
        embedding: Of the one noise level that the TARGET frames share.
    """

    listens = True  # to what it is told: `telling`

    def __init__(self, unet: UNet, embedding: LevelEmbedding) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding

    def forward(
        self,
        canvas: Clip,
        labels: Float[Tensor, "b f"],
        roles: Roles,
        told: Told | None = None,
    ) -> Float[Tensor, "b f out h w"]:
        """See `framefill.types.Denoiser`; of what it is told, the network reads the classes."""
        first = (roles == Role.TARGET).to(torch.int8).argmax(dim=1, keepdim=True)
        label = labels.gather(1, first)[:, 0]
        volume = rearrange(canvas, "b f c h w -> b c f h w")
        output = self.unet(volume, self.embedding(label, told.classes if told else None))
        return rearrange(output, "b c f h w -> b f c h w")


class Telling(nn.Module):
    """A denoiser whose network is told the same at every call.

    Args:
        network: Called with canvas, labels, roles and what it is told.
        told: Of the clips, or one for all of them. A batch may hold the clips several times over,
            one after all, as history guidance does.
    """

    def __init__(self, network: nn.Module, told: Told) -> None:
        super().__init__()
        self.network, self.told = network, told

    def forward(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        """See `framefill.types.Denoiser`."""
        told = self.told.to(canvas.device).repeated(len(canvas))
        return self.network(canvas, labels, roles, told)


def telling(network: nn.Module, told: Told) -> nn.Module:
    """Return a network that is told what is known of its clips, if it listens to any of it."""
    return Telling(network, told) if told and getattr(network, "listens", False) else network


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
