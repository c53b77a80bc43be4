"""framefill's own network: a U-Net over space, with mixing over time at every resolution.

Each frame has its own noise level, role and conditions; pixels may be missing; frames may have any
size that the resolutions divide, and clips any length (factorised as in Ho et al. 2022, "Video
diffusion models").
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from framefill.conditions import Condition
from framefill.errors import InputError
from framefill.nn.layers import LevelEmbedding
from framefill.nn.temporal import (
    RelativeBias,
    SpaceTimeBlock,
    TemporalAttention,
    TemporalConv,
)
from framefill.nn.unet import Step, UNet
from framefill.nn.unet2d import Head, Parts, conv2d, initialise_like_ddpm
from framefill.roles import Role, having
from framefill.told import Told
from framefill.types import Clip, Roles

PLANES = (Role.KNOWN, Role.TARGET)  # that say where a frame has this role


class FrameEmbedding(nn.Module):
    """What is true of a whole frame, as one vector: noise level, role, class, vector conditions.

    Args:
        width: Number of sinusoids of the noise level; the vector has four times as many features.
        classes: Number of class labels, or 0.
        vectors: Sizes of the vector conditions.
    """

    def __init__(self, width: int, *, classes: int, vectors: Sequence[int]) -> None:
        super().__init__()
        self.level = LevelEmbedding(width, "cos-sin")
        self.features = self.level.features
        self.role = nn.Embedding(len(Role), self.features)
        self.classes = nn.Embedding(classes + 1, self.features) if classes else None
        self.vectors = nn.ModuleList(nn.Linear(2 * size, self.features) for size in vectors)
        self.mix = nn.Linear(self.features, self.features)

    def forward(
        self,
        labels: Float[Tensor, "b f"],
        roles: Roles,
        classes: Int64[Tensor, " _"] | None,
        vectors: Sequence[Float[Tensor, "b f _"]],
    ) -> Float[Tensor, "b f e"]:
        """Return the embedding after its last SiLU, which every block would apply again.

        Args:
            labels: What the network is told of each frame's noise level; not read where ABSENT.
            roles: What each frame is to the model.
            classes: Class of each clip, or one for all; below 0, or None: of no class.
            vectors: Values, and which of them are known, of every vector condition.

        Raises:
            InputError: there are classes, but the network has none.
        """
        told = labels.masked_fill(roles == Role.ABSENT, 0.0).flatten()
        embedding = self.level(told).unflatten(0, labels.shape) + self.role(roles.long())
        if self.classes is not None:
            none = self.classes.num_embeddings - 1
            numbers = torch.full((1,), none, device=labels.device)
            if classes is not None:
                numbers = classes.to(labels.device)
                numbers = numbers.where(numbers >= 0, none)
            embedding = embedding + self.classes(numbers)[:, None]
        elif classes is not None:
            raise InputError("class labels for a network without classes: set --network.classes")
        for layer, vector in zip(self.vectors, vectors, strict=True):
            embedding = embedding + layer(vector)
        return F.silu(self.mix(F.silu(embedding)))


class SpaceTimeDenoiser(nn.Module):
    """Frames are images of one batch; what is told of each goes with it.

    With every frame come a plane that says where there is data, two that say whether it is KNOWN
    and whether it is a TARGET, and the maps of the conditions. Every value of a condition comes
    with a further one that says whether it is known. Nothing is read of the canvas where a frame
    is ABSENT or `Told.valid` is false; the conditions of ABSENT frames are read.

    Args:
        unet: Takes folded clips of (channels + 1 + 2 * maps) * patch² + 2 channels.
        embedding: Of each frame.
        conditions: What the network may be told.
        patch: Side of the square patches of pixels that are folded into channels.
    """

    listens = True  # to what it is told: `framefill.nn.denoisers.telling`

    def __init__(
        self,
        unet: UNet,
        embedding: FrameEmbedding,
        *,
        conditions: tuple[Condition, ...],
        patch: int,
    ) -> None:
        super().__init__()
        self.unet, self.embedding = unet, embedding
        self.conditions, self.patch = conditions, patch

    def forward(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles, told: Told | None = None
    ) -> Float[Tensor, "b f out h w"]:
        """See `framefill.types.Denoiser`.

        Args:
            canvas: The frames that the network sees.
            labels: What the network is told of each frame's noise level.
            roles: What each frame is to the model.
            told: Conditions that it lacks are unknown, and clips without a class are of none.

        Raises:
            InputError: a condition is not one of the network's, or has another shape; or there are
                classes, but the network has none.
        """
        told = told or Told()
        if strange := sorted(set(told.conditions) - {c.name for c in self.conditions}):
            raise InputError(
                f"condition {strange[0]!r}: this network was built with "
                f"{', '.join(repr(c.name) for c in self.conditions) or 'none'}"
            )
        vectors = [_read(c, told, canvas) for c in self.conditions if c.kind == "vector"]
        embedding = self.embedding(labels, roles, told.classes, vectors)
        output = self.unet(self._images(canvas, roles, told), embedding)
        pattern = "(b f) (c p q) h w -> b f c (h p) (w q)"
        return rearrange(output, pattern, b=len(canvas), p=self.patch, q=self.patch)

    def _images(self, canvas: Clip, roles: Roles, told: Told) -> Float[Tensor, "bf c2 h2 w2"]:
        valid = ~having(roles, Role.ABSENT).expand(-1, -1, 1, *canvas.shape[-2:])
        if told.valid is not None:
            valid = valid & told.valid.to(canvas.device)
        maps = [_read(c, told, canvas) for c in self.conditions if c.kind != "vector"]
        frames = torch.cat([canvas.where(valid, 0.0), valid.to(canvas), *maps], dim=2)
        pattern = "b f c (h p) (w q) -> (b f) (c p q) h w"
        images = rearrange(frames, pattern, p=self.patch, q=self.patch)
        planes = torch.cat([having(roles, role) for role in PLANES], dim=2).to(canvas)
        return torch.cat([images, planes.flatten(0, 1).expand(-1, -1, *images.shape[-2:])], dim=1)


def _read(condition: Condition, told: Told, canvas: Clip) -> Float[Tensor, "b f k2 *size"]:
    """Return the values of a condition, 0 where they are unknown, and then which are known."""
    clips, frames, _, *size = canvas.shape
    shape = (
        1 if condition.kind == "static" else frames,
        condition.size,
        *(() if condition.kind == "vector" else size),
    )
    value = told.conditions.get(condition.name)
    if value is None:
        value = canvas.new_full((1, *shape), torch.nan)
    if value.shape[1:] != shape or len(value) not in (1, clips):
        raise InputError(
            f"condition {condition.name!r} of shape {list(value.shape)}: needs "
            f"{[clips, *shape]}, or 1 in place of the first"
        )
    value = value.to(canvas)
    unknown = value.isnan()
    pair = torch.cat([value.masked_fill(unknown, 0.0), (~unknown).to(canvas)], dim=2)
    return pair.expand(clips, frames, *pair.shape[2:])


def build_space_time_unet(
    parts: Parts,
    *,
    channels: int,
    out: int,
    widths: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    temporal_attention: Sequence[int],
    head_width: int,
) -> UNet:
    """Build the U-Net; see `initialise_space_time` for its first weights.

    Args:
        parts: Makes what works on single frames.
        channels: Channels of the input.
        out: Channels of the output.
        widths: Features at each resolution, finest first.
        blocks: Residual blocks per resolution on the way down; one more on the way up.
        attention: Indices into `widths` of the resolutions with self-attention within a frame.
        temporal_attention: Those of the resolutions with self-attention among the frames.
        head_width: Features per head of the latter; a narrower resolution has one head.
    """
    deepest = len(widths) - 1

    def station(level: int, features: int, *, attends: bool = True, joins: bool = False) -> Step:
        width = widths[level]
        times: list[nn.Module] = [TemporalConv(width)]
        if attends and level in temporal_attention:
            times.append(TemporalAttention(width, heads=max(1, width // head_width)))
        return Step(
            SpaceTimeBlock(parts.residual(features, width), times),
            attention=parts.attend(width) if attends and level in attention else None,
            joins=joins,
        )

    skips = [widths[0]]

    def down() -> Iterator[Step]:
        for level, width in enumerate(widths):
            for _ in range(blocks):
                yield station(level, skips[-1])
                skips.append(width)
            if level < deepest:
                yield Step(SpaceTimeBlock(parts.residual(width, width, "down")))
                skips.append(width)

    def up() -> Iterator[Step]:
        features = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                joined = features + skips.pop()
                yield station(level, joined, attends=block == blocks, joins=True)
                features = width
            if level > 0:
                features = widths[level - 1]  # already here: convolutions of the finer are dear
                yield Step(SpaceTimeBlock(parts.residual(width, features, "up")))

    return UNet(
        stem=conv2d(channels, widths[0], 3),
        down=list(down()),
        middle=[station(deepest, widths[-1]), station(deepest, widths[-1], attends=False)],
        up=list(up()),
        head=parts.head(widths[0], out),
    )


def initialise_space_time(net: nn.Module) -> None:
    """Give a network its first weights: MCVD's, and zeros in all that ends a branch over time.

    So it begins as a network for images, and its first predictions are 0.
    """
    initialise_like_ddpm(net)
    for module in net.modules():
        if isinstance(module, TemporalConv | TemporalAttention):
            _zero(module.out)
        elif isinstance(module, RelativeBias):
            _zero(module.weight)
        elif isinstance(module, Head):
            _zero(module.conv)
        elif isinstance(module, FrameEmbedding):
            for layer in module.vectors:
                # Glorot's weights would let a few values hardly count beside the level.
                nn.init.normal_(layer.get_parameter("weight"), std=0.5)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
