"""RaMViD's flags as training runs."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from framefill.config import Config, LogConfig, OptimConfig, difference
from framefill.convert.ramvid_config import flags_of, model_config
from framefill.convert.ramvid_flags import Flags, parse_flags, promised_shapes
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.errors import InputError
from framefill.model_config import ModelConfig
from framefill.objective import MaskedLoss
from framefill.schedule import TableSchedule

MAX_BYTES = 100_000  # of a file of flags
FOREVER = 1_000_000  # steps; the official training has no end but a learning rate of 0
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
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(
            f"{path} can't be read ({reason}): give a text file with flags such as --image_size 64"
        ) from error
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
        log=LogConfig(log_every=flags.log_interval, save_every=flags.save_interval, sample_every=0),
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
    levels: Literal["uniform", "loss_aware"] = "loss_aware" if aware else "uniform"
    if not flags.use_kl and not flags.learn_sigma:
        return MaskedLoss(reduction=reduction, levels=levels)
    if not flags.use_kl:
        scale = flags.diffusion_steps / 1000 if flags.rescale_learned_sigmas else 1.0
        return MaskedLoss(reduction=reduction, kind="hybrid", bound_scale=scale, levels=levels)
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
        inverse_decay=flags.decay if flags.anneal_type == "time_based" else 0.0,
        weight_decay=flags.weight_decay,
        clip_norm=flags.clip,
        ema=first,
        more_ema=tuple(more),
    )


def training_flags(config: Config) -> tuple[Flags, list[str]]:
    """Return the flags of a training: the inverse of `training_config`.

    Returns:
        The flags, and the settings that they can't say, one line for each.

    Raises:
        InputError: the official code has no such model.
    """
    optim, loss, levels = config.optim, config.loss, 1000
    if isinstance(config.diffusion.schedule, TableSchedule):
        levels = config.diffusion.schedule.levels
    annealing = "linear" if optim.decay else "step" if optim.drop_every else "None"
    flags = replace(
        flags_of(config.model()),
        schedule_sampler=LEVELS[loss.levels == "loss_aware"],
        lr=optim.lr,
        weight_decay=optim.weight_decay,
        lr_anneal_steps=optim.steps if optim.decay else 0,
        batch_size=optim.batch,
        microbatch=optim.microbatch or optim.batch,
        ema_rate=",".join(str(rate) for rate in (optim.ema, *optim.more_ema)),
        log_interval=config.log.log_every,
        save_interval=config.log.save_every,
        clip=optim.clip_norm,
        seed=config.seed,
        anneal_type="time_based" if optim.inverse_decay else annealing,
        steps_drop=float(optim.drop_every),
        drop=optim.drop if optim.drop_every else 0.0,
        decay=optim.inverse_decay,
        exclude_conditional=loss.reduction != "clip_mean",
        use_kl=loss.kind == "bound",
        rescale_learned_sigmas=loss.kind != "hybrid" or loss.bound_scale == levels / 1000,
        use_checkpoint=config.recompute,
    )
    again = training_config(flags, config.model(), None)
    steps = again.optim.steps if optim.decay == 1 else optim.steps
    again = replace(
        again,
        optim=replace(again.optim, steps=steps, microbatch=optim.microbatch),
        data=config.data,
        log=config.log,
        sampler=config.sampler,
        guidance=config.guidance,
        precision=config.precision,
        workers=config.workers,
    )
    return flags, difference(config, again)
