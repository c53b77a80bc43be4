"""RaMViD's flags as training runs."""

from pathlib import Path
from typing import Literal

from framefill.config import Config, LogConfig, OptimConfig
from framefill.convert.ramvid_config import model_config
from framefill.convert.ramvid_flags import Flags, parse_flags, promised_shapes
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.errors import InputError
from framefill.model_config import ModelConfig
from framefill.objective import MaskedLoss

MAX_BYTES = 100_000  # of a file of flags
FOREVER = 1_000_000  # steps; the official training has no end but a learning rate of 0
UNCLIPPED = 1e12  # --clip 0
LEVELS = ("uniform", "loss-second-moment")
ANNEALING = ("None", "linear", "step", "time_based")


def flags_run(path: Path) -> Config:
    """Return the training run of a text file that holds flags of the official script.

    Raises:
        InputError: the file can't be read, or a flag is unknown, malformed or asks for what there
            is none of; the message says which.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is too large for a file of flags")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a file of flags: {error}") from error
    flags = parse_flags(text.replace("\\\n", " "))
    return training_config(flags, model_config(flags, promised_shapes(flags)), None)


def training_config(flags: Flags, model: ModelConfig, data: Path | None) -> Config:
    """Return the training that the official script does with these flags.

    Raises:
        InputError: a flag asks for what there is none of; the message says which.
    """
    if flags.schedule_sampler not in LEVELS:
        raise InputError(
            f"--schedule_sampler {flags.schedule_sampler!r}: use one of {', '.join(LEVELS)}"
        )
    return Config(
        data=VideosConfig(
            path=data,
            height=model.height,
            width=model.width,
            channels=model.channels,
            fit="ramvid",
            classes=ALL_CLASSES if flags.class_cond else (),
        ),
        masks=model.masks,
        network=model.network,
        diffusion=model.diffusion,
        loss=_loss(flags),
        normaliser=model.normaliser,
        sampler=model.sampler,
        optim=_optim(flags),
        log=LogConfig(save_every=flags.save_interval, sample_every=0),
        seed=flags.seed,
        precision="float32",
        recompute=flags.use_checkpoint,
    )


def _loss(flags: Flags) -> MaskedLoss:
    """RESCALED_MSE, MSE and RESCALED_KL of the official code."""
    reduction: Literal["target_mean", "clip_mean"] = (
        "target_mean" if flags.exclude_conditional else "clip_mean"
    )
    aware = flags.schedule_sampler != "uniform"
    scale = flags.diffusion_steps / 1000 if flags.rescale_learned_sigmas else 1.0
    levels: Literal["uniform", "loss_aware"] = "loss_aware" if aware else "uniform"
    if not flags.use_kl:
        kind: Literal["hybrid", "error"] = "hybrid" if flags.learn_sigma else "error"
        return MaskedLoss(reduction=reduction, kind=kind, bound_scale=scale, levels=levels)
    if not flags.learn_sigma:
        raise InputError(
            "--use_kl True without --learn_sigma True: the bound of a fixed variance is the plain "
            "loss with other weights; the official code has neither for masked frames"
        )
    return MaskedLoss(
        reduction=reduction,
        kind="bound",
        bound_scale=float(flags.diffusion_steps),
        levels=levels,
    )


def _optim(flags: Flags) -> OptimConfig:
    try:
        first, *more = (float(rate) for rate in flags.ema_rate.split(","))
    except ValueError:
        raise InputError(
            f"--ema_rate {flags.ema_rate!r}: give rates, such as 0.9999,0.99"
        ) from None
    if flags.anneal_type not in ANNEALING:
        raise InputError(f"--anneal_type {flags.anneal_type!r}: use one of {', '.join(ANNEALING)}")
    linear, stepped = flags.anneal_type == "linear", flags.anneal_type == "step"
    return OptimConfig(
        steps=flags.lr_anneal_steps if linear else FOREVER,
        batch=flags.batch_size,
        microbatch=flags.microbatch if 0 < flags.microbatch < flags.batch_size else 0,
        lr=flags.lr,
        warmup=0,
        decay=1.0 if linear else 0.0,
        drop=flags.drop if stepped else 1.0,
        drop_every=int(flags.steps_drop) if stepped else 0,
        slowdown=flags.decay if flags.anneal_type == "time_based" else 0.0,
        weight_decay=flags.weight_decay,
        clip_norm=flags.clip or UNCLIPPED,
        ema=first,
        more_ema=tuple(more),
    )
