"""MCVD's own config files as training runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from framefill.config import Config, DataConfig, LogConfig, OptimConfig
from framefill.convert.mcvd_checkpoint import read_config
from framefill.convert.mcvd_config import model_config, value_of
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.objective import MaskedLoss
from framefill.pndm import Pndm
from framefill.sampling import Ddim, Ddpm

DIGITS = "STOCHASTICMOVINGMNIST"
REQUIRED = {"optim.optimizer": "Adam", "optim.weight_decay": 0.0, "optim.amsgrad": False}


def official_run(path: Path) -> Config:
    """Return the training run that one of MCVD's configs/*.yml describes.

    Raises:
        InputError: the file can't be read, a key is missing or malformed, or asks for what
            framefill does not do; the message names it.
    """
    official = read_config(path)
    for key, value in REQUIRED.items():
        if (found := value_of(official, key, (str, int, float, bool), value)) != value:
            raise InputError(f"{path}: config key {key} is {found!r}: only {value!r} is supported")
    if not value_of(official, "model.ema", bool, True):
        raise InputError(f"{path}: config key model.ema is false: weights are always averaged here")
    if value_of(official, "data.color_jitter", (int, float), 0.0):
        raise InputError(f"{path}: config key data.color_jitter is not 0: colors stay as they are")
    model = model_config(official)
    absolute = value_of(official, "training.L1", bool, False)
    return Config(
        data=_data(official, model),
        masks=model.masks,
        network=model.network,
        diffusion=model.diffusion,
        loss=MaskedLoss(reduction="half_sum", norm="absolute" if absolute else "squared"),
        normaliser=model.normaliser,
        sampler=_corrected(model.sampler),
        precision="float32",
        optim=OptimConfig(
            steps=value_of(official, "training.n_iters", int),
            batch=value_of(official, "training.batch_size", int),
            lr=float(value_of(official, "optim.lr", (int, float))),
            betas=(float(value_of(official, "optim.beta1", (int, float))), 0.999),
            eps=float(value_of(official, "optim.eps", (int, float))),
            warmup=value_of(official, "optim.warmup", int),
            clip_norm=float(value_of(official, "optim.grad_clip", (int, float))),
            ema=float(value_of(official, "model.ema_rate", (int, float), 0.999)),
        ),
        log=LogConfig(sample_every=value_of(official, "training.snapshot_freq", int)),
    )


def _corrected(sampler: SamplerConfig) -> SamplerConfig:
    """Return the same walk without the faults of the official code, which nothing new needs."""
    match sampler:
        case Ddpm() | Ddim():
            return replace(sampler, as_published=False, denoise=False)
        case Pndm():
            return replace(sampler, as_published=False, clip=False)
    return sampler


def _data(official: Mapping[str, Any], model: ModelConfig) -> DataConfig:
    """Digits as large as there, half a frame; of other datasets only the frame size is known."""
    if value_of(official, "data.dataset", str).upper() == DIGITS:
        if model.channels != 1:
            raise InputError(f"config key data.channels is {model.channels}: digits have 1")
        return DigitsConfig(
            size=model.height,
            glyph=model.height // 2,
            digits=value_of(official, "data.num_digits", int, 2),
            speed=max(1, model.height // 16),
        )
    return VideosConfig(
        height=model.height,
        width=model.width,
        channels=model.channels,
        flip=value_of(official, "data.random_flip", bool, False),
    )
