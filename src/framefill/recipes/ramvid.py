"""RaMViD's published settings (its README's commands, and the paper's Section 4 and Appendix).

Each dataset was trained with four unconditional rates; the recipe without a rate in its name is
the published command.
"""

from functools import partial

from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.masks import RandomMasks
from framefill.nn.config import VolumeConfig
from framefill.objective import MaskedLoss
from framefill.recipes.entry import Recipe
from framefill.sampling import Ddpm
from framefill.schedule import TableSchedule

RATES = (0.0, 0.25, 0.5, 0.75)
MAX_KNOWN = 4  # K in the paper, --max_num_mask_frames in the commands


def ramvid(*, frames: int, blocks: int, batch: int, steps: int, unconditional: float) -> Config:
    """Return what all of RaMViD's commands have in common, with what they differ in."""
    return Config(
        data=VideosConfig(fit="ramvid"),
        masks=RandomMasks(frames=frames, max_known=MAX_KNOWN, unconditional=unconditional),
        network=VolumeConfig(blocks=blocks),
        diffusion=Diffusion(schedule=TableSchedule(spacing="linspace"), labels="step"),
        loss=MaskedLoss(reduction="target_mean"),
        sampler=Ddpm(steps=1000, variance="large"),
        optim=OptimConfig(steps=steps, batch=batch, lr=2e-5, warmup=0, ema=0.9999),
        precision="float32",
        log=LogConfig(save_every=2000, sample_every=50_000),
    )


def _recipes(
    name: str, summary: str, published: float, *, frames: int, blocks: int, batch: int, steps: int
) -> dict[str, Recipe]:
    """Return one recipe for each unconditional rate, the published command's first."""
    make = partial(ramvid, frames=frames, blocks=blocks, batch=batch, steps=steps)
    rates = sorted(RATES, key=lambda rate: rate != published)
    return {
        name if rate == published else f"{name}-{rate:g}": Recipe(
            partial(make, unconditional=rate),
            f"{summary}; no frame known in {rate:.0%} of the clips",
            f"uncondition_rate {rate:g}" + (", the published command" * (rate == published)),
        )
        for rate in rates
    }


RAMVID = {
    **_recipes("bair-ramvid", "BAIR robot", 0.25, frames=20, blocks=2, batch=32, steps=250_000),
    **_recipes(
        "kinetics600-ramvid", "Kinetics-600", 0.25, frames=16, blocks=3, batch=64, steps=500_000
    ),
    **_recipes("ucf101-ramvid", "UCF-101", 0.75, frames=16, blocks=3, batch=64, steps=450_000),
}
