"""The training that starts from a model: fine-tuning."""

from dataclasses import replace
from pathlib import Path

from framefill.config import Config, LogConfig, OptimConfig, read_config
from framefill.data.videos import VideosConfig
from framefill.device import Precision
from framefill.model import CONFIG, load_config
from framefill.model_config import ModelConfig
from framefill.nn.config import ConcatConfig, Mcvd3dConfig, SpatinConfig
from framefill.objective import MaskedLoss

AUTO: Precision = "auto"
STEPS, LR, WARMUP = 20_000, 5e-5, 500  # ours: a fraction of what the published trainings take


def folder_of(path: Path) -> Path:
    """Return the model folder of a model folder or a run folder."""
    return path / "model" if (path / "model" / CONFIG).is_file() else path


def tuning_config(path: Path) -> Config:
    """Return the training that goes on from a model, on videos that are still to be named.

    Its network, masks, noise levels and loss are the model's, its learning rate is low. A run's
    own settings are taken over where there are any; a model folder does not say how its loss was
    counted, so that is as its paper has it.

    Args:
        path: A model folder or a run folder.

    Raises:
        InputError: it is neither.
    """
    folder = folder_of(path)
    model = load_config(folder)
    optim = OptimConfig(steps=STEPS, lr=LR, warmup=WARMUP, batch=16)
    loss, precision = _loss(model), AUTO
    if folder != path and (path / CONFIG).is_file():
        before = read_config(path / CONFIG)
        loss, precision = before.loss, before.precision
        optim = replace(
            before.optim,
            steps=STEPS,
            lr=before.optim.lr / 4,
            warmup=WARMUP,
            drop=1.0,
            drop_every=0,
            ema_widths=(),
        )
    return Config(
        data=VideosConfig(
            height=model.height,
            width=model.width,
            channels=model.channels,
            classes=model.classes,
            conditions=tuple(each.name for each in model.conditions),
        ),
        masks=model.masks,
        network=model.network,
        diffusion=model.diffusion,
        loss=loss,
        normaliser=model.normaliser,
        sampler=model.sampler,
        guidance=model.guidance,
        optim=optim,
        log=LogConfig(),
        start=folder,
        precision=precision,
    )


def _loss(model: ModelConfig) -> MaskedLoss:
    """Return how the published trainings of such a network count errors."""
    if isinstance(model.network, ConcatConfig | SpatinConfig | Mcvd3dConfig):
        return MaskedLoss(reduction="half_sum")
    if model.diffusion.learned_spread:
        levels = getattr(model.diffusion.schedule, "levels", 1000)
        return MaskedLoss(kind="hybrid", bound_scale=levels / 1000)
    return MaskedLoss()
