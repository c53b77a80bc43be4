"""RaMViD's flags and our model configurations."""

import re
from dataclasses import fields, replace
from typing import Literal

from framefill.convert.ramvid_flags import CLASSES, MULTIPLIERS, Flags, disagreements
from framefill.convert.ramvid_shapes import Shapes
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import RandomMasks
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.nn.config import VolumeConfig
from framefill.normalise import Normaliser
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule


def model_config(flags: Flags, shapes: Shapes) -> ModelConfig:
    """Return the configuration of the model that flags and the shapes of weights describe.

    Raises:
        InputError: the weights contradict a flag, or a flag asks for what there is none of; the
            message says which.
    """
    if wrong := list(disagreements(flags, shapes)):
        raise InputError("the flags are not those of these weights: " + "; ".join(wrong))
    network = VolumeConfig(
        width=shapes.width,
        multipliers=shapes.multipliers,
        blocks=shapes.blocks,
        attention=shapes.attention,
        heads=flags.num_heads,
        heads_up=flags.num_heads if flags.num_heads_upsample == -1 else flags.num_heads_upsample,
        dropout=flags.dropout,
        scale_shift=shapes.scale_shift,
        shrink_frames=flags.scale_time_dim,
        classes=shapes.classes,
    )
    if flags.scale_time_dim not in (0, flags.seq_len):
        raise InputError(
            f"--scale_time_dim {flags.scale_time_dim} with --seq_len {flags.seq_len}: halved clips "
            "come back to their length only where both are the same; the published commands pass "
            "--scale_time_dim 0"
        )
    return ModelConfig(
        height=flags.image_size,
        width=flags.image_size,
        channels=shapes.channels,
        network=network,
        masks=_masks(flags),
        diffusion=Diffusion(
            schedule=_schedule(flags),
            predicts="clean" if flags.predict_xstart else "noise",
            labels="step" if flags.rescale_timesteps else "index",
            limits=(-1.0, 1.0) if flags.clip_denoised else None,
            learned_spread=shapes.learn_sigma,
        ),
        normaliser=Normaliser(),
        sampler=_sampler(flags),
    )


def flags_of(config: ModelConfig) -> Flags:
    """Return the flags of a model: the inverse of `model_config`.

    A sampler that the official code lacks becomes its own, over all levels.

    Raises:
        InputError: the official code has no such model.
    """
    network, masks, schedule = config.network, config.masks, config.diffusion.schedule
    if not isinstance(network, VolumeConfig) or not isinstance(masks, RandomMasks):
        raise InputError("only models with RaMViD's masks and network have an official form")
    if not isinstance(schedule, TableSchedule):
        raise InputError("the official code knows tables of noise levels only")
    if config.channels not in (1, 3) or network.classes not in (0, CLASSES):
        raise InputError(
            f"{config.channels} channels and {network.classes} classes: the official code knows 1 "
            f"or 3 channels, and {CLASSES} classes or none"
        )
    sampler = config.sampler
    flags = Flags(
        image_size=config.height,
        num_channels=network.width,
        num_res_blocks=network.blocks,
        num_heads=network.heads,
        num_heads_upsample=-1 if network.heads_up == network.heads else network.heads_up,
        attention_resolutions=_attention_resolutions(config.height, network),
        dropout=network.dropout,
        learn_sigma=config.diffusion.learned_spread,
        sigma_small=isinstance(sampler, Ddpm) and sampler.variance == "small",
        class_cond=network.classes > 0,
        diffusion_steps=schedule.levels,
        noise_schedule=schedule.kind,
        timestep_respacing=_respacing(sampler, schedule),
        predict_xstart=config.diffusion.predicts == "clean",
        rescale_timesteps=config.diffusion.labels == "step",
        use_scale_shift_norm=network.scale_shift,
        scale_time_dim=network.shrink_frames,
        rgb=config.channels == 3,
        seq_len=masks.frames,
        max_num_mask_frames=masks.max_known,
        mask_range="" if masks.within is None else ",".join(map(str, masks.within)),
        uncondition_rate=masks.unconditional,
        use_ddim=isinstance(sampler, Ddim),
        clip_denoised=config.diffusion.limits is not None,
        resample_steps=sampler.repeats if isinstance(sampler, Ddpm) else 1,
    )
    _check_inverse(flags, config, network)
    return flags


def _attention_resolutions(size: int, network: VolumeConfig) -> str:
    """Return the sizes of feature maps with attention; the default if it says the same."""
    default, levels = Flags(image_size=size), range(len(network.multipliers))
    said = tuple(level for level in levels if 2**level in default.attention_factors)
    if said == network.attention:
        return default.attention_resolutions
    # A feature map of one pixel is the official way to say none.
    return ",".join(str(size >> level) for level in network.attention) or "1"


def _check_inverse(flags: Flags, config: ModelConfig, network: VolumeConfig) -> None:
    """Refuse a model that the official code would take for another one."""
    size = flags.image_size
    if MULTIPLIERS.get(size) != network.multipliers:
        known = "; ".join(f"{size}: {each}" for size, each in MULTIPLIERS.items())
        raise InputError(
            f"features {network.multipliers} at {size} x {config.width} pixels: the official code "
            f"builds networks for square frames with these alone: {known}"
        )
    shapes = Shapes(
        channels=config.channels,
        learn_sigma=flags.learn_sigma,
        width=network.width,
        multipliers=network.multipliers,
        blocks=network.blocks,
        attention=network.attention,
        scale_shift=network.scale_shift,
        classes=network.classes,
    )
    again = model_config(flags, shapes)
    # How frames are filled, and what classes are called, may be chosen anew there.
    schedule = replace(_schedule(flags), spacing=_spacing(config))
    again = replace(
        again,
        sampler=config.sampler,
        guidance=config.guidance,
        classes=config.classes,
        diffusion=replace(again.diffusion, schedule=schedule),
    )
    changed = [f.name for f in fields(config) if getattr(again, f.name) != getattr(config, f.name)]
    if changed:
        raise InputError(f"the official code has no model with this {' and '.join(changed)}")


def _spacing(config: ModelConfig) -> Literal["trailing", "linspace", "leading"]:
    """Return the spacing of walks, which is no part of what was trained."""
    schedule = config.diffusion.schedule
    return schedule.spacing if isinstance(schedule, TableSchedule) else "linspace"


def _masks(flags: Flags) -> RandomMasks:
    """The official code reads the range digit by digit: ``0,16`` is the range from 0 to 1."""
    within = None
    if flags.mask_range not in ("", "None"):
        digits = [int(digit) for digit in flags.mask_range if digit.isdecimal()]
        odd = set(flags.mask_range) - set("0123456789,")
        if len(digits) != 2 or odd or digits[1] <= digits[0]:
            raise InputError(
                f"--mask_range {flags.mask_range!r}: the official code reads it digit by digit, as "
                f"range{tuple(digits)}; give two digits, the first frame and the one after the last"
            )
        within = (digits[0], digits[1])
    if not 1 <= flags.max_num_mask_frames < flags.seq_len:
        raise InputError(
            f"--max_num_mask_frames {flags.max_num_mask_frames} with --seq_len {flags.seq_len}: "
            "needs at least 1 known frame, and one left to fill"
        )
    return RandomMasks(
        frames=flags.seq_len,
        max_known=flags.max_num_mask_frames,
        unconditional=flags.uncondition_rate,
        within=within,
    )


def _schedule(flags: Flags) -> TableSchedule:
    spacing: Literal["leading", "linspace"] = (
        "leading" if flags.timestep_respacing.startswith("ddim") else "linspace"
    )
    match flags.noise_schedule:
        case "linear" | "cosine" as kind:
            return TableSchedule(kind=kind, levels=flags.diffusion_steps, spacing=spacing)
        case other:
            raise InputError(f"--noise_schedule {other!r}: use linear or cosine")


def _sampler(flags: Flags) -> SamplerConfig:
    parts = (flags.timestep_respacing or str(flags.diffusion_steps)).removeprefix("ddim").split(",")
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", part) for part in parts):
        raise InputError(
            f"--timestep_respacing {flags.timestep_respacing!r}: use a number of steps (250), one "
            "for each of several sections (10,20,60), or ddim50"
        )
    counts = tuple(int(part) for part in parts)
    steps = counts if len(counts) > 1 else counts[0]
    if flags.use_ddim and flags.resample_steps != 1:
        raise InputError(
            f"--use_ddim True with --resample_steps {flags.resample_steps}: steps are repeated in "
            "ancestral sampling alone; leave one of them out"
        )
    if flags.use_ddim:
        return Ddim(steps=steps)
    fixed: Literal["small", "large"] = "small" if flags.sigma_small else "large"
    return Ddpm(
        steps=steps,
        variance="learned" if flags.learn_sigma else fixed,
        repeats=flags.resample_steps,
    )


def _respacing(sampler: SamplerConfig, schedule: TableSchedule) -> str:
    if not isinstance(sampler, Ddpm | Ddim) or schedule.spacing == "trailing":
        return ""
    counts = sampler.steps if isinstance(sampler.steps, tuple) else (sampler.steps,)
    text = ",".join(map(str, counts))
    if schedule.spacing == "leading":
        return f"ddim{text}"
    return "" if counts == (schedule.levels,) else text
