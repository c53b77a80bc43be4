"""Our own settings: the space-time network on the data of every benchmark, and on anything else.

All tasks are trained at once: blocks of past, target and future, of which both sides may be absent
(history guidance needs that), and frames known anywhere. Nothing of it is published.
"""

from functools import partial

from framefill.config import Config, DataConfig, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.masks import BlockMasks, MixedMasks, RandomMasks
from framefill.nn.config import SpaceTimeConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.recipes.entry import Recipe
from framefill.sampling import DpmSolver2M
from framefill.scaling import Scaling
from framefill.schedule import LogNormalSchedule


def masks(past: int, target: int, future: int, *, max_known: int) -> MixedMasks:
    """Return rows for all tasks on clips of past + target + future frames."""
    frames = past + target + future
    return MixedMasks(
        parts=(
            BlockMasks(past=past, target=target, future=future, drop_past=0.1, drop_future=0.6),
            BlockMasks(past=past, target=target + future, drop_past=0.2),
            RandomMasks(frames=frames, max_known=max_known, unconditional=0.1),
        ),
        weights=(0.25, 0.35, 0.4),
    )


def space_time(
    data: DataConfig,
    rows: MixedMasks,
    network: SpaceTimeConfig,
    *,
    batch: int,
    steps: int,
    lr: float = 3e-4,
) -> Config:
    """Return what all of these recipes have in common, with what they differ in."""
    # Digits are never measured: these are the mean and the deviation of Moving MNIST's pixels,
    # a deviation of 0.5 being what the noise levels below are made for.
    digits = isinstance(data, DigitsConfig)
    normaliser = Normaliser(offset=(15.0,), scale=(2 * 48.1,)) if digits else Normaliser()
    return Config(
        data=data,
        masks=rows,
        network=network,
        normaliser=normaliser,
        scaling=Scaling() if digits else Scaling(by="spread"),
        diffusion=Diffusion(
            schedule=LogNormalSchedule(mean=-0.4, std=1.4, lowest=0.02, highest=80.0),
            predicts="edm",
            labels="log",
            data_std=0.5,
            limits=normaliser.limits,
        ),
        loss=MaskedLoss(known_level=0.05),
        sampler=DpmSolver2M(steps=20, eta=1.0),
        optim=OptimConfig(
            steps=steps, batch=batch, lr=lr, betas=(0.9, 0.99), decay=0.5, ema_power=16.7
        ),
        log=LogConfig(sample_every=5000),
    )


SMALL = SpaceTimeConfig(
    width=32, multipliers=(1, 2), blocks=1, attention=(), temporal_attention=(1,), patch=2
)


def small() -> Config:
    """Ten frames of any data, hours on a CPU: to see whether it can be learned at all."""
    rows = masks(4, 4, 2, max_known=5)
    return space_time(VideosConfig(), rows, SMALL, batch=8, steps=5000, lr=1e-3)


def _benchmark(
    data: DataConfig, past: int, target: int, future: int, max_known: int, width: int, batch: int
) -> Config:
    rows = masks(past, target, future, max_known=max_known)
    network = SpaceTimeConfig(width=width, multipliers=(1, 2, 4), patch=1)
    return space_time(data, rows, network, batch=batch, steps=300_000)


_KTH = VideosConfig(channels=1, flip=True, fit="crop")
_RGB = VideosConfig(flip=True, fit="crop")
_WIDE = VideosConfig(height=128, width=128, flip=True, fit="crop")

SPACE_TIME = {
    "small-st": Recipe(small, "any data, clips of 10 frames, hours on a CPU", "ours"),
    **{
        f"{name}-st": Recipe(
            partial(_benchmark, data, past, target, future, known, width, batch), summary, "ours"
        )
        for name, summary, data, past, target, future, known, width, batch in (
            ("smmnist", "Stochastic Moving MNIST", DigitsConfig(), 5, 5, 5, 8, 64, 64),
            ("kth", "KTH actions", _KTH, 10, 5, 5, 10, 64, 32),
            ("bair", "BAIR robot", _RGB, 2, 12, 2, 8, 96, 32),
            ("cityscapes", "Cityscapes", _WIDE, 2, 12, 2, 8, 96, 16),
            ("ucf101", "UCF-101", _RGB, 4, 8, 4, 8, 128, 32),
            ("kinetics600", "Kinetics-600", _RGB, 5, 9, 2, 8, 128, 64),
        )
    },
}
