"""Published settings and our own, one function for each."""

from collections.abc import Callable

from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError, suggestion
from framefill.masks import BlockMasks, ContextMasks
from framefill.nn.config import ConcatConfig, ContextConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.sampling import Ddpm, DpmSolver2M
from framefill.schedule import LogNormalSchedule, TableSchedule


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


def smmnist_concat() -> Config:
    """Stochastic Moving MNIST, all four tasks of MCVD."""
    return Config(
        data=DigitsConfig(),
        masks=BlockMasks(past=5, target=5, future=5, drop_past=0.5, drop_future=0.5),
        network=ConcatConfig(),
        diffusion=Diffusion(
            schedule=TableSchedule(), labels="countdown", keep_noise=True, limits=(-1.0, 1.0)
        ),
        loss=MaskedLoss(reduction="half_sum"),
        sampler=Ddpm(steps=100),
        optim=OptimConfig(
            steps=3_000_001, batch=64, lr=2e-4, warmup=1000, clip_norm=1.0, ema=0.999
        ),
        log=LogConfig(save_every=1000, sample_every=50_000),
    )


RECIPES: dict[str, Callable[[], Config]] = {"digits": digits, "smmnist-concat": smmnist_concat}


def recipe(name: str) -> Config:
    """Return a recipe by its name.

    Raises:
        InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(
            f"no recipe {name!r}{suggestion(name, RECIPES)}; there are: {', '.join(RECIPES)}"
        )
    return RECIPES[name]()
