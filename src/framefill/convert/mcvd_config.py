"""MCVD's `config.yml` and ours.

Only what the official code reads is read; its defaults for keys that old files lack are its own
(mcvd-pytorch, `getattr` calls in models/, runners/ncsn_runner.py and main.py).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import BlockMasks
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.nn.config import ConcatConfig, Mcvd3dConfig, SpatinConfig
from framefill.normalise import Normaliser
from framefill.pndm import Pndm
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule

Official = Mapping[str, Any]
Network = ConcatConfig | SpatinConfig | Mcvd3dConfig
REFUSED = {
    "model.gamma": "noise from a gamma distribution",
    "model.noise_in_cond": "noise on the given frames",
    "model.output_all_frames": "predicting the given frames too",
    "data.logit_transform": "a logit transform",
    "data.uniform_dequantization": "dequantisation",
    "data.gaussian_dequantization": "dequantisation",
}
LEVELS = 1000
ARCHITECTURES = ("unetmore", "unetmore3d", "unetmorepseudo3d")


def model_config(official: Official) -> ModelConfig:
    """Return the configuration of the model that an official config describes.

    Its sampler does what the official one does, faults included (`as_published`).

    Raises:
        InputError: a key is missing, or asks for what the official authors call unhelpful or
            what can't be built any more; the message names it.
    """
    _refuse(official)
    size = value_of(official, "data.image_size", int)
    diffusion = Diffusion(
        schedule=_schedule(official),
        labels="countdown",
        limits=(-1.0, 1.0) if value_of(official, "sampling.clip_before", bool, True) else None,
        keep_noise=True,
    )
    return ModelConfig(
        height=size,
        width=size,
        channels=value_of(official, "data.channels", int),
        network=_network(official, size),
        masks=_masks(official),
        diffusion=diffusion,
        normaliser=Normaliser(),
        sampler=_sampler(official),
    )


def official_config(config: ModelConfig) -> dict[str, Any]:
    """Return the official config of a model: the inverse of `model_config`.

    What a model does not say is as in the published files. The name of the dataset is "unknown";
    a sampler that the official code lacks becomes DDPM in 100 steps.

    Raises:
        InputError: the official code has no such model.
    """
    masks, network, schedule = config.masks, config.network, config.diffusion.schedule
    if not isinstance(masks, BlockMasks) or not isinstance(network, Network):
        raise InputError("only models with MCVD's masks and networks have an official form")
    if config.height != config.width or not isinstance(schedule, TableSchedule):
        raise InputError("the official code knows square frames and tables of noise levels only")
    official = _official(config, masks, network, schedule)
    # How frames are filled may be chosen anew there; what the network means may not.
    again = replace(model_config(official), sampler=config.sampler, guidance=config.guidance)
    if again != config:
        changed = [
            f.name for f in fields(config) if getattr(again, f.name) != getattr(config, f.name)
        ]
        raise InputError(f"the official code has no model with this {' and '.join(changed)}")
    return official


def _official(
    config: ModelConfig, masks: BlockMasks, network: Network, schedule: TableSchedule
) -> dict[str, Any]:
    return {
        "training": {"L1": False, "batch_size": 64, "n_iters": 3_000_001, "n_epochs": 1_000_000}
        | {"snapshot_freq": 50_000, "sample_freq": 50_000, "val_freq": 100, "log_freq": 50}
        | {"snapshot_sampling": True, "log_all_sigmas": False},
        "sampling": _official_sampling(config),
        "fast_fid": {"batch_size": 1000, "num_samples": 1000, "begin_ckpt": 5000, "freq": 5000}
        | {"end_ckpt": 300_000, "pr_nn_k": 3, "verbose": False, "ensemble": False}
        | {"step_lr": 0.0, "n_steps_each": 0},
        "test": {"begin_ckpt": 5000, "end_ckpt": 300_000, "batch_size": 100},
        "data": {
            "dataset": "unknown",
            "image_size": config.height,
            "channels": config.channels,
            "num_frames": masks.target,
            "num_frames_cond": masks.past,
            "num_frames_future": masks.future,
            "prob_mask_cond": masks.drop_past,
            "prob_mask_future": masks.drop_future,
            "prob_mask_sync": masks.synchronised,
            "rescaled": True,
            "logit_transform": False,
            "uniform_dequantization": False,
            "gaussian_dequantization": False,
            "random_flip": True,
            "num_workers": 0,
        },
        "model": _official_network(network, config.height)
        | {"version": _VERSIONS.get(type(config.sampler), "DDPM"), "sigma_dist": schedule.kind},
        "optim": {"optimizer": "Adam", "lr": 2e-4, "beta1": 0.9, "eps": 1e-8, "weight_decay": 0.0}
        | {"amsgrad": False, "warmup": 1000, "grad_clip": 1.0},
    }


_VERSIONS: dict[type, str] = {Ddpm: "DDPM", Ddim: "DDIM", Pndm: "FPNDM"}


def _official_sampling(config: ModelConfig) -> dict[str, Any]:
    sampler = config.sampler
    if not isinstance(sampler, Ddpm | Ddim | Pndm) or not isinstance(sampler.steps, int):
        steps, denoise = 100, True
    else:
        steps, denoise = sampler.steps, not isinstance(sampler, Pndm) and sampler.denoise
    return {
        "subsample": steps,
        "denoise": denoise,
        "clip_before": config.diffusion.limits is not None,
        "batch_size": 100,
        "ckpt_id": 0,
        "data_init": False,
        "final_only": True,
        "fid": False,
        "ssim": True,
        "fvd": True,
        "num_samples4fid": 10_000,
        "num_samples4fvd": 10_000,
        "inpainting": False,
        "interpolation": False,
        "n_interpolations": 15,
        "consistent": True,
        "step_lr": 0.0,
        "n_steps_each": 0,
        "train": False,
        "num_frames_pred": 20,
        "max_data_iter": 100_000,
        "init_prev_t": -1.0,
        "one_frame_at_a_time": False,
        "preds_per_test": 1,
    }


def _official_network(network: Network, size: int) -> dict[str, Any]:
    hidden = getattr(network, "hidden", 0)
    architecture = "unetmore"
    if isinstance(network, Mcvd3dConfig):
        architecture = "unetmorepseudo3d" if network.separable else "unetmore3d"
    return {
        "arch": architecture,
        "ngf": network.width,
        "ch_mult": list(network.multipliers),
        "num_res_blocks": network.blocks,
        "attn_resolutions": [size >> level for level in network.attention],
        "n_head_channels": -1 if network.head_width is None else network.head_width,
        "dropout": network.dropout,
        "spade": hidden > 0,
        "spade_dim": hidden or 128,
        "cond_emb": getattr(network, "told_past", False),
        "sigma_begin": 0.02,
        "sigma_end": 0.0001,
        "num_classes": LEVELS,
        "ema": True,
        "ema_rate": 0.999,
        "gamma": False,
        "noise_in_cond": False,
        "output_all_frames": False,
        "depth": "deep",
        "type": "v1",
        "time_conditional": True,
        "conditional": True,
        "spec_norm": False,
        "normalization": "InstanceNorm++",
        "nonlinearity": "swish",
    }


def _refuse(official: Official) -> None:
    for key, meaning in REFUSED.items():
        if value_of(official, key, bool, False):
            raise InputError(
                f"config key {key} is true ({meaning}): framefill does not do that; only "
                "checkpoints trained without it can be converted"
            )
    if not value_of(official, "data.rescaled", bool, True):
        raise InputError("config key data.rescaled is false: only values in -1..1 are supported")
    architecture = value_of(official, "model.arch", str)
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"config key model.arch is {architecture!r}, which the official code can't build "
            f"either: use one of {', '.join(ARCHITECTURES)}"
        )


def _schedule(official: Official) -> TableSchedule:
    kind = value_of(official, "model.sigma_dist", str, "linear")
    expected: dict[str, float] = {"model.num_classes": LEVELS}
    if kind == "linear":
        expected |= {"model.sigma_begin": 0.02, "model.sigma_end": 0.0001}
    for key, value in expected.items():
        if (found := value_of(official, key, (int, float))) != value:
            raise InputError(f"config key {key} is {found}: only {value} is supported")
    match kind:
        case "linear":
            return TableSchedule()
        case "cosine":
            return TableSchedule(kind="cosine", max_beta=1.0)
    raise InputError(f"config key model.sigma_dist is {kind!r}: use linear or cosine")


def _masks(official: Official) -> BlockMasks:
    return BlockMasks(
        past=value_of(official, "data.num_frames_cond", int),
        target=value_of(official, "data.num_frames", int),
        future=value_of(official, "data.num_frames_future", int, 0),
        drop_past=float(value_of(official, "data.prob_mask_cond", (int, float), 0.0)),
        drop_future=float(value_of(official, "data.prob_mask_future", (int, float), 0.0)),
        synchronised=value_of(official, "data.prob_mask_sync", bool, False),
    )


def _network(official: Official, size: int) -> Network:
    multipliers = _whole_numbers(official, "model.ch_mult")
    resolutions = _whole_numbers(official, "model.attn_resolutions")
    head_width = value_of(official, "model.n_head_channels", int)
    shape: dict[str, Any] = {
        "width": value_of(official, "model.ngf", int),
        "multipliers": multipliers,
        "blocks": value_of(official, "model.num_res_blocks", int),
        "attention": tuple(i for i in range(len(multipliers)) if size >> i in resolutions),
        "head_width": None if head_width == -1 else head_width,
        "dropout": float(value_of(official, "model.dropout", (int, float), 0.0)),
    }
    told_past = value_of(official, "model.cond_emb", bool, False)
    spatin = value_of(official, "model.spade", bool, False)
    hidden = value_of(official, "model.spade_dim", int, 128) if spatin else 0
    if (architecture := value_of(official, "model.arch", str)) != "unetmore":
        if told_past:
            raise InputError(f"config key model.cond_emb is true with arch {architecture}: refused")
        separable = architecture == "unetmorepseudo3d"
        return Mcvd3dConfig(**shape, separable=separable, hidden=hidden)
    if spatin:
        return SpatinConfig(**shape, hidden=hidden, told_past=told_past)
    return ConcatConfig(**shape, told_past=told_past)


def _whole_numbers(official: Official, key: str) -> tuple[int, ...]:
    values = value_of(official, key, list)
    if wrong := [value for value in values if type(value) is not int]:
        raise InputError(f"config key {key} holds {_shown(wrong[0])}: expected whole numbers")
    return tuple(values)


def _sampler(official: Official) -> SamplerConfig:
    steps = value_of(official, "sampling.subsample", (int, type(None)), None) or LEVELS
    steps = min(steps, LEVELS)
    denoise = value_of(official, "sampling.denoise", bool, True)
    match value_of(official, "model.version", str, "DDPM").upper():
        case "DDPM":
            return Ddpm(steps=steps, denoise=denoise, as_published=True)
        case "DDIM":
            return Ddim(steps=steps, denoise=denoise, as_published=True)
        case "FPNDM":
            clip = value_of(official, "sampling.clip_before", bool, True)
            return Pndm(steps=steps, as_published=True, clip=clip)
        case version:
            raise InputError(f"config key model.version is {version}: use DDPM, DDIM or FPNDM")


def _shown(value: Any) -> str:
    """Say what a value is, in short: a list may hold itself a thousand times over."""
    plain = isinstance(value, str | int | float | bool | None)
    return repr(value)[:80] if plain else f"a {type(value).__name__}"


_REQUIRED = object()


def value_of(official: Official, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
    """Return a value of an official config by its dotted key, of the kind that it has to be.

    Raises:
        InputError: the key is missing and has no default, or its value is of another kind.
    """
    section, name = key.split(".")
    values = official.get(section) or {}
    if not isinstance(values, Mapping):
        raise InputError(f"config key {section} holds no settings: is this MCVD's config.yml?")
    value = values.get(name, default)
    if value is _REQUIRED:
        raise InputError(f"config key {key} is missing: is this MCVD's config.yml?")
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if value is not default and (
        not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
    ):
        raise InputError(f"config key {key} is {_shown(value)}: expected {kinds[0].__name__}")
    return value
