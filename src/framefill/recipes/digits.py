"""The demo's recipe."""

from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion
from framefill.masks import ContextMasks
from framefill.nn.config import ContextConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.sampling import DpmSolver2M
from framefill.schedule import LogNormalSchedule


def digits() -> Config:
    """The demo: two bouncing digits of 10 pixels on 32 x 32, minutes on a CPU."""
    # Mean and standard deviation of the pixels; data of standard deviation 0.5 is what the
    # noise levels below are made for.
    normaliser = Normaliser(offset=(15.0,), scale=(2 * 48.1,))
    return Config(
        data=DigitsConfig(size=32, glyph=10, digits=2, speed=2, bounce="reflect"),
        masks=ContextMasks(past=4, target=2, future=4),
        network=ContextConfig(width=48, multipliers=(1, 2), blocks=1, attention=(), head_width=32),
        diffusion=Diffusion(
            schedule=LogNormalSchedule(mean=-0.4, std=1.4, lowest=0.02, highest=40.0),
            predicts="edm",
            labels="log",
            data_std=0.5,
            limits=normaliser.limits,
        ),
        loss=MaskedLoss(known_level=0.05),
        normaliser=normaliser,
        sampler=DpmSolver2M(steps=10, eta=1.0),
        guidance=2.0,
        optim=OptimConfig(
            steps=7500,
            batch=16,
            lr=2e-3,
            betas=(0.9, 0.99),
            warmup=100,
            decay=0.6,
            ema_power=16.7,
        ),
        log=LogConfig(log_every=50, sample_every=1000, save_every=1000),
        precision="bfloat16",
    )
