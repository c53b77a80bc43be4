"""Everything that a training run depends on, as one immutable value.

Small parts (masks, schedule, sampler, loss) are their own configuration: the value is the object.
Only what is heavy or holds state (network, data, optimiser) has a separate config.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Generator

from framefill.conditions import Condition
from framefill.data.digits import DigitsConfig, MovingDigits
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.sample import Split
from framefill.data.videos import VideoClips, VideosConfig
from framefill.device import Precision
from framefill.diffusion import Diffusion
from framefill.errors import InputError, check_fields
from framefill.log_config import LogConfig
from framefill.masks import Masks
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.nn.config import NetworkConfig, SpaceTimeConfig, VolumeConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.optim_config import OptimConfig
from framefill.sampling import DpmSolver2M
from framefill.scaling import Scaling, measured_conditions
from framefill.serialise import flattened, from_data, read_json, register_union, to_data

__all__ = [
    "Clips",
    "Config",
    "DataConfig",
    "LogConfig",
    "OptimConfig",
    "difference",
    "read_config",
]

DataConfig = DigitsConfig | VideosConfig | OwnConfig
Clips = MovingDigits | VideoClips | OwnClips
register_union(DataConfig)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One training run."""

    data: DataConfig
    """The clips."""
    masks: Masks
    """Which frames are known, which are targets."""
    network: NetworkConfig
    """The network."""
    diffusion: Diffusion = field(default_factory=Diffusion)
    """Noise levels, and what the network's output means."""
    loss: MaskedLoss = field(default_factory=MaskedLoss)
    """How errors are counted."""
    normaliser: Normaliser = field(default_factory=Normaliser)
    """Between the data's units and the model's range, where it isn't measured."""
    scaling: Scaling = field(default_factory=Scaling)
    """Whether that is measured on the training data, and how."""
    conditions: tuple[Condition, ...] = ()
    """What the network is told along with the frames; measured, as the data names them."""
    sampler: SamplerConfig = field(default_factory=DpmSolver2M)
    """The trained model's own sampler."""
    guidance: float = 1.0
    """The trained model's own history guidance; 1: none."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights move."""
    log: LogConfig = field(default_factory=LogConfig)
    """What the run writes, and when."""
    start: Path | None = None
    """A model folder whose weights the run starts from; none: they are drawn by the seed."""
    seed: int = 0
    """Seed of weights, data order, masks and noise."""
    precision: Precision = "auto"
    """Of the network's arithmetic; auto: bfloat16 on CUDA, float16 where CUDA has no bfloat16."""
    workers: int = 0
    """Processes that make clips beside each process of the training."""
    recompute: bool = False
    """Compute the inside of each block again on the way back instead of keeping it: a third more
    time, and much less memory."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps from then on."""
    shard: bool = False
    """Divide weights, averages and the optimiser's state among the processes (FSDP2), for networks
    that don't fit one GPU; otherwise each process holds all of them (DDP)."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.seed < 0 or self.workers < 0:
            raise InputError(f"seed {self.seed} and workers {self.workers} must be at least 0")
        if bool(self.optim.ema_widths) != bool(self.log.snapshot_every):
            raise InputError(
                f"optim.ema_widths {self.optim.ema_widths} and log.snapshot_every "
                f"{self.log.snapshot_every} go together: give both or neither"
            )
        self._check_classes()
        names = () if isinstance(self.data, DigitsConfig) else self.data.conditions
        if names and not self.network.takes_conditions:
            raise InputError(
                f"conditions {', '.join(names)}: the published networks take none; train one of "
                "the recipes whose names end in -st, with the space-time network"
            )
        self.model()
        self.loss.check(self.diffusion)
        if self.loss.kind != "error":
            steps = 2 / self.normaliser.bin_width
            if abs(self.loss.bins - steps) > 1e-6 * steps:
                raise InputError(
                    f"bins {self.loss.bins} of the loss must be the {steps:g} steps in the data's "
                    f"range {self.normaliser.low:g}..{self.normaliser.high:g}"
                )
        # A trial draw: the schedule knows which levels it has.
        self.diffusion.schedule.draw_up_to(
            self.loss.known_level, clips=1, frames=1, generator=Generator()
        )

    def _check_classes(self) -> None:
        if isinstance(self.data, OwnConfig):
            return  # its clips say their classes
        network = 0
        if isinstance(self.network, VolumeConfig | SpaceTimeConfig):
            network = self.network.classes
        data = self.data.classes if isinstance(self.data, VideosConfig) else ()
        known = not isinstance(self.data, VideosConfig) or self.data.path is not None
        if network and not data and known:
            raise InputError(
                f"a network of {network} classes and data of none: name them with --data.classes, "
                "or all"
            )
        if data and not network:
            raise InputError(
                f"classes {', '.join(data[:20])} and a network of none: pass --network.classes, "
                "their number or more, with RaMViD's network or the space-time one"
            )

    def clips(self, split: Split) -> Clips:
        """Return the clips of a split of the data.

        Raises:
            InputError: the data can't be read, or doesn't suit the config.
        """
        return self.data.clips(frames=self.masks.frames, split=split, seed=self.seed)

    def model(self) -> ModelConfig:
        """Return the configuration of the model that the run trains."""
        return ModelConfig(
            height=self.data.height,
            width=self.data.width,
            channels=self.data.channels,
            network=self.network,
            masks=self.masks,
            diffusion=self.diffusion,
            normaliser=self.normaliser,
            sampler=self.sampler,
            guidance=self.guidance,
            classes=self.data.classes if isinstance(self.data, VideosConfig) else (),
            conditions=self.conditions,
        )

    def measured(
        self, clips: Clips, after: Callable[[int], None] = lambda frames: None
    ) -> "Config":
        """Return the same with the normaliser and the conditions that fit the training data.

        Args:
            clips: The training clips.
            after: Called with the number of frames of each part of the data that was read.

        Raises:
            InputError: as `Scaling.normaliser`.
        """
        if isinstance(clips, MovingDigits):
            if self.scaling != Scaling():
                raise InputError("scaling is measured on videos: digits have theirs")
            return self
        normaliser, names = self.normaliser, clips.config.conditions
        if self.scaling.measures(clips.footage, normaliser):
            seen = [each.recolored(self.data.channels) for each in clips.footage]
            normaliser = self.scaling.normaliser(seen, after)
        conditions = measured_conditions(names, clips.config.condition_dropout, clips.footage)
        return self.scaled(normaliser, conditions)

    def scaled(self, normaliser: Normaliser, conditions: tuple[Condition, ...]) -> "Config":
        """Return the same with another normaliser and other conditions."""
        diffusion = self.diffusion
        if diffusion.limits is not None and normaliser != self.normaliser:
            diffusion = replace(diffusion, limits=normaliser.limits)
        return replace(self, normaliser=normaliser, diffusion=diffusion, conditions=conditions)


def read_config(path: Path) -> Config:
    """Read a config from a JSON file.

    Raises:
        InputError: a key is unknown, missing or malformed; the message has its path.
    """
    return from_data(read_json(path), Config, source=str(path))


def difference(ours: Config, theirs: Config) -> list[str]:
    """Return one line for each value that differs between two configs.

    >>> from dataclasses import replace
    >>> from framefill.recipes import recipe
    >>> a = recipe("digits")
    >>> difference(a, replace(a, seed=3))
    ['seed: 0 -> 3']
    """
    left, right = flattened(to_data(ours)), flattened(to_data(theirs))
    names = dict.fromkeys([*left, *right])
    return [
        f"{name}: {left.get(name, 'nothing')} -> {right.get(name, 'nothing')}"
        for name in names
        if left.get(name) != right.get(name)
    ]
