"""Everything about a model but its weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from framefill.conditions import Condition
from framefill.diffusion import Diffusion
from framefill.errors import InputError, check_fields, suggestion
from framefill.masks import BlockMasks, ContextMasks, Masks, RandomMasks
from framefill.nn.config import NetworkConfig, SpaceTimeConfig, VolumeConfig
from framefill.normalise import Normaliser
from framefill.pndm import Pndm
from framefill.sampling import Ddim, Ddpm, DpmSolver2M
from framefill.schedule import Schedule
from framefill.serialise import register_union

MAX_SIDE = 8192  # pixels
NO_CLASS = -1  # what a network is told of a clip whose class is hidden

SamplerConfig = Ddpm | Ddim | DpmSolver2M | Pndm

for union in (
    Schedule,
    SamplerConfig,
    NetworkConfig,
    BlockMasks | RandomMasks | ContextMasks,
    Masks,
):
    register_union(union)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything about a model but its weights."""

    height: int
    """Height of a frame, in pixels."""
    width: int
    """Width of a frame, in pixels."""
    channels: int
    """Channels of a frame."""
    network: NetworkConfig
    """The network."""
    masks: Masks
    """The rows of roles that it was trained on, hence what it can be asked for."""
    diffusion: Diffusion
    """The noise levels, and what the network's output means."""
    normaliser: Normaliser
    """Between the user's units and the model's range."""
    sampler: SamplerConfig = field(default_factory=DpmSolver2M)
    """How to fill frames, unless told otherwise."""
    guidance: float = 1.0
    """History guidance, unless told otherwise; 1: none."""
    classes: tuple[str, ...] = ()
    """Names of the network's classes, in the order of their numbers, as far as they have any."""
    conditions: tuple[Condition, ...] = ()
    """What the network is told along with the frames."""

    def __post_init__(self) -> None:
        divisor = self.network.divisor
        check_fields(self)
        self.sampler.walk(self.diffusion.schedule)  # refuses steps that it can't take
        learned = isinstance(self.sampler, Ddpm) and self.sampler.variance == "learned"
        if learned and not self.diffusion.learned_spread:
            raise InputError("variance 'learned' needs learned_spread, a network that learns it")
        if self.guidance < 0:
            raise InputError(f"guidance {self.guidance} must be at least 0; 1 is none")
        if max(self.height, self.width) > MAX_SIDE or self.channels > MAX_SIDE:
            raise InputError(
                f"frames of {self.height} x {self.width} with {self.channels} channels: at most "
                f"{MAX_SIDE} each"
            )
        if min(self.height, self.width) < 1 or self.height % divisor or self.width % divisor:
            raise InputError(
                f"frames of {self.height} x {self.width} pixels: this network needs a height and "
                f"a width divisible by {divisor}; resize the frames"
            )
        if self.channels < 1:
            raise InputError(f"{self.channels} channels: needs at least 1")
        if len(self.classes) > self.network_classes or len(set(self.classes)) < len(self.classes):
            raise InputError(
                f"{len(self.classes)} names of classes for a network of {self.network_classes}: "
                "needs at most one for each, and all different; set --network.classes"
            )
        if self.conditions and not self.network.takes_conditions:
            names = ", ".join(each.name for each in self.conditions)
            raise InputError(
                f"conditions {names}: the published networks take none; train one of the recipes "
                "whose names end in -st, with the space-time network"
            )
        if len({each.name for each in self.conditions}) < len(self.conditions):
            raise InputError("two conditions have the same name: name each differently")
        for name in ("offset", "scale", "lows", "highs"):
            count = len(getattr(self.normaliser, name))
            if count not in (1, self.channels) and (count or name in ("offset", "scale")):
                raise InputError(
                    f"normaliser {name} has {count} values for {self.channels} channels"
                )

    @property
    def network_classes(self) -> int:
        """Number of class labels that the network takes, or 0."""
        if isinstance(self.network, VolumeConfig | SpaceTimeConfig):
            return self.network.classes
        return 0

    def class_number(self, label: str | int | None) -> int | None:
        """Return the number of a class by its name or number; None for networks without classes.

        Without a label it is -1, no class, for networks that were trained so.

        Raises:
            InputError: there is no such class, or a label is missing or not called for.
        """
        if self.network_classes == 0:
            if label is not None:
                raise InputError(f"label {label!r}: this model was trained without classes")
            return None
        spare = isinstance(self.network, SpaceTimeConfig) and self.network.class_dropout > 0
        if label is None and spare:
            return NO_CLASS
        known = ", ".join(self.classes[:20]) or f"the numbers 0..{self.network_classes - 1}"
        if label is None:
            raise InputError(f"this model was trained with classes: give a label out of {known}")
        if label in self.classes:
            return self.classes.index(str(label))
        if re.fullmatch(r"\d{1,9}", str(label)) and int(label) < self.network_classes:
            return int(label)
        raise InputError(f"no class {label!r}{suggestion(str(label), self.classes)}; give {known}")

    def class_numbers(
        self, label: str | int | None, own: Sequence[int | None]
    ) -> Sequence[int | None]:
        """Return the classes of clips: that of a label for all of them, or else their own.

        Raises:
            InputError: as `class_number`.
        """
        return own if label is None else [self.class_number(label)] * len(own)

    def build(self) -> nn.Module:
        """Build the network with fresh weights."""
        if isinstance(self.network, SpaceTimeConfig):
            return self.network.build(
                channels=self.channels,
                masks=self.masks,
                learned_spread=self.diffusion.learned_spread,
                conditions=self.conditions,
            )
        return self.network.build(
            channels=self.channels,
            masks=self.masks,
            learned_spread=self.diffusion.learned_spread,
        )
