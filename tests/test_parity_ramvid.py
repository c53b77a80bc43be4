"""RaMViD's recordings: the 3-D network, the loss and the schedules."""

import json
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from parity import SHARED, agree, config, recording, tensors
from torch import Tensor

from framefill.convert.ramvid import volume_weights
from framefill.diffusion import Diffusion
from framefill.masks import RandomMasks
from framefill.nn.config import VolumeConfig
from framefill.nn.denoisers import VolumeDenoiser
from framefill.objective import MaskedLoss
from framefill.roles import Role
from framefill.schedule import TableSchedule
from framefill.told import Told

NETWORKS = [
    "ramvid/a_published_small",
    "ramvid/b_scale_time_dim_eq_L",
    "ramvid/c_learn_sigma",
    "ramvid/d_gray_class_heads_noss",
    "ramvid/d2_oddsize_heads_2blocks",
    "ramvid/f_xstart_small_sigma_cosine",
]
LOSSES = ["ramvid/a_loss", "ramvid/f_xstart_small_sigma_cosine"]
FULL_SIZE = [
    "ramvid/procedural_img32_c32",
    "ramvid/procedural_img64_c64_scaletime20",
    "ramvid/procedural_full_bair_L4",
    "ramvid/procedural_full_kinetics_L3",
]


def build(unet: dict[str, Any], frames: int = 6) -> VolumeDenoiser:
    """Build our network from the official constructor's arguments."""
    factors = [2**level for level in range(len(unet["channel_mult"]))]
    heads, heads_up = unet["num_heads"], unet["num_heads_upsample"]
    network = VolumeConfig(
        width=unet["model_channels"],
        multipliers=tuple(unet["channel_mult"]),
        blocks=unet["num_res_blocks"],
        attention=tuple(i for i, f in enumerate(factors) if f in unet["attention_resolutions"]),
        heads=heads,
        heads_up=heads if heads_up == -1 else heads_up,
        dropout=unet["dropout"],
        scale_shift=unet["use_scale_shift_norm"],
        shrink_frames=unet["scale_time_dim"],
        classes=unet["num_classes"] or 0,
    ).build(
        channels=unet["in_channels"],
        masks=RandomMasks(frames=unet["scale_time_dim"] or frames, max_known=1),
        learned_spread=unet["out_channels"] == 2 * unet["in_channels"],
    )
    assert isinstance(network, VolumeDenoiser)
    return network.eval()


def load(name: str) -> tuple[VolumeDenoiser, dict[str, Tensor]]:
    """Return a recorded network and its official weights."""
    network = build(config(name)["unet"])
    weights = tensors(recording(name) / "weights.safetensors")
    official = {key: value.float() for key, value in weights.items()}
    network.load_state_dict(volume_weights(network, official))
    return network, official


def to_clip(volume: Tensor) -> Tensor:
    return volume.transpose(1, 2)


def call(
    network: VolumeDenoiser, volume: Tensor, t: Tensor, classes: Tensor | None = None
) -> Tensor:
    """Call our network with the official arguments: a volume and one timestep per clip."""
    clip = to_clip(volume)
    roles = torch.full(clip.shape[:2], Role.TARGET, dtype=torch.int8)
    labels = t.float()[:, None].expand(roles.shape)
    told = None if classes is None else Told(classes=classes)
    return to_clip(network(clip, labels, roles, told))


def diffusion_of(options: dict[str, Any], *, spacing: str = "linspace") -> Diffusion:
    return Diffusion(
        schedule=TableSchedule(
            kind=options["noise_schedule"], levels=options["steps"], spacing=spacing
        ),
        predicts="clean" if options["predict_xstart"] else "noise",
        labels="step",
        learned_spread=options["learn_sigma"],
    )


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_network(name: str) -> None:
    network, _ = load(name)
    recorded = tensors(recording(name) / "forward.safetensors")
    calls = [key for key in recorded if key.startswith("out")]
    assert calls
    for key in calls:
        t = recorded[key.replace("out", "t")]
        output = call(network, recorded["x"], t, recorded.get("y"))
        agree(output, recorded[key], 2e-5, f"{name}: network")


@pytest.mark.parametrize("name", [name for name in NETWORKS if "_sigma" not in name])
def test_gradients(name: str) -> None:
    network, official = load(name)
    folder = recording(name)
    recorded, forward = (
        tensors(folder / "grads.safetensors"),
        tensors(folder / "forward.safetensors"),
    )
    norms = json.loads((folder / "grad_norms.json").read_text())
    classes = config(name).get("grads_y")
    output = call(
        network,
        recorded.get("x", forward["x"]),
        recorded.get("t", forward["t0"]),
        None if classes is None else torch.tensor(classes),
    )
    (output * recorded["w"]).mean().backward()
    ours = official_gradients(network, official)
    norms = norms.get("grad_norms", norms)
    floor = 1e-6 * max(norms.values())
    for parameter, norm in norms.items():
        if norm > floor:  # the others are zero in exact arithmetic
            agree(ours[parameter].norm(), torch.tensor(norm), 1e-3, f"{name}: gradient norms")
    for key, gradient in recorded.items():
        parameter = key.removeprefix("grad/")
        if key.startswith("grad/") and norms[parameter] > floor:
            agree(ours[parameter], gradient, 1e-4, f"{name}: gradients")


def official_gradients(network: VolumeDenoiser, official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our gradients under the official names.

    Weights that hold their own positions are converted, which shows where each one went.
    """
    where, start = {}, 1
    for key, value in official.items():
        where[key] = torch.arange(start, start + value.numel(), dtype=torch.float64)
        start += value.numel()
    assert start < 2**24, "positions would not fit a float32"
    marks = {key: where[key].reshape(value.shape) for key, value in official.items()}
    gradients = torch.zeros(start)
    parameters = dict(network.named_parameters())
    for ours, mark in volume_weights(network, marks).items():
        if (gradient := parameters[ours].grad) is not None:
            gradients[mark.flatten().long()] = gradient.flatten()
    return {key: gradients[where[key].long()].reshape(official[key].shape) for key in official}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    report = json.loads((recording(name) / "loss.json").read_text())
    recorded = tensors(recording(name) / "loss.safetensors")
    network, official = load("ramvid/a_published_small" if name.endswith("a_loss") else name)
    diffusion = diffusion_of(report["diffusion"])
    clip = to_clip(recorded["x_start"])
    assert len(report["cases"]) == 5
    for case in report["cases"]:
        key = f"c{case['case']}"
        mask = recorded[f"{key}/mask"]
        roles = torch.where(mask == 1, Role.TARGET, Role.KNOWN).to(torch.int8)
        levels = torch.where(mask == 1, recorded[f"{key}/t"][:, None].float() + 1, 0.0)
        noise = to_clip(recorded[f"{key}/noise"])
        told = diffusion.told(levels)[roles == Role.TARGET]
        rows = recorded[f"{key}/model_t"][:, None].expand(roles.shape)[roles == Role.TARGET]
        assert torch.equal(told, rows)
        reduction = "target_mean" if case["exclude_conditional"] else "clip_mean"
        network.zero_grad()
        loss = MaskedLoss(reduction=reduction).at(network, diffusion, clip, roles, levels, noise)
        agree(loss, recorded[f"{key}/mse_per_sample"], 1e-5, f"{name}: loss")
        loss.mean().backward()
        ours = official_gradients(network, official)
        for gradient in [k for k in recorded if k.startswith(f"{key}/grad/")]:
            parameter = gradient.removeprefix(f"{key}/grad/")
            agree(ours[parameter], recorded[gradient], 1e-4, f"{name}: gradients of the loss")


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedules(kind: str) -> None:
    recorded = tensors(recording("ramvid/diffusion_arrays") / "arrays.safetensors")
    what = f"ramvid/diffusion_arrays: {kind}"
    for levels in (1000, 500, 100):
        if f"{kind}{levels}/betas" in recorded:
            squared = TableSchedule(kind=kind, levels=levels).alpha_squared
            beta = 1 - squared[1:] / squared[:-1]
            agree(beta, recorded[f"{kind}{levels}/betas"], 1e-9, what)
    schedule = TableSchedule(kind=kind)
    squared = schedule.alpha_squared
    agree(squared[1:], recorded[f"{kind}1000/alphas_cumprod"], 1e-12, what)
    agree(squared[:-1], recorded[f"{kind}1000/alphas_cumprod_prev"], 1e-12, what)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_respacing(kind: str) -> None:
    recorded = tensors(recording("ramvid/diffusion_arrays") / "arrays.safetensors")
    prefix, suffix = f"{kind}1000/respace[", "]/timestep_map"
    names = [
        k[len(prefix) : -len(suffix)]
        for k in recorded
        if k.startswith(prefix) and k.endswith(suffix)
    ]
    assert len(names) >= 12
    for name in names:
        spacing = "leading" if name.startswith("ddim") else "linspace"
        counts = tuple(int(part) for part in name.removeprefix("ddim").split(","))
        schedule = TableSchedule(kind=kind, spacing=spacing)
        levels = schedule.descent(counts if len(counts) > 1 else counts[0])
        steps = [int(level) - 1 for level in reversed(levels[:-1])]
        assert steps == recorded[f"{prefix}{name}{suffix}"].tolist(), name
        squared = schedule.alpha_squared[torch.tensor([0.0, *reversed(levels[:-1])]).long()]
        beta = 1 - squared[1:] / squared[:-1]
        what = f"ramvid/diffusion_arrays: {kind} respaced"
        agree(beta, recorded[f"{prefix}{name}]/betas"], 1e-9, what)


@pytest.mark.parametrize("name", FULL_SIZE)
@torch.no_grad()
def test_full_size_networks(name: str) -> None:
    report, values = config(name), procedural_weights()
    unet = official_arguments(report["flags"])
    network = build(unet, frames=report["x_shape"][2])
    assert sum(p.numel() for p in network.parameters()) == report["params"]
    official = {
        key: torch.from_numpy(values.param(key, tuple(shape), report["seed"]))
        for key, shape in report["keys"].items()
    }
    network.load_state_dict(volume_weights(network, official))
    volume = torch.from_numpy(values.tensor("input:x", tuple(report["x_shape"]), report["seed"]))
    output = call(network, volume, torch.tensor(report["t"]))
    recorded = tensors(recording(name) / "out.safetensors")
    agree(output, recorded["out"], 1e-4, f"{name}: network")


def procedural_weights() -> ModuleType:
    """Import the generator of the recordings' weights, which lies beside them."""
    recording(FULL_SIZE[0])
    sys.path.insert(0, str(SHARED / "ramvid"))
    try:
        import procweights
    finally:
        sys.path.pop(0)
    return procweights


def official_arguments(flags: dict[str, Any]) -> dict[str, Any]:
    """What the official script makes of its flags: create_model in script_util.py."""
    size = flags["image_size"]
    multipliers = {256: (1, 1, 2, 2, 4, 4), 128: (1, 2, 3, 4), 64: (1, 2, 3, 4), 32: (1, 2, 2, 2)}
    return {
        "in_channels": 3,
        "out_channels": 3,
        "model_channels": flags["num_channels"],
        "channel_mult": multipliers[size],
        "num_res_blocks": flags["num_res_blocks"],
        "attention_resolutions": [size // 16, size // 8],
        "num_heads": 4,
        "num_heads_upsample": -1,
        "dropout": 0.0,
        "use_scale_shift_norm": True,
        "scale_time_dim": flags["scale_time_dim"],
        "num_classes": None,
    }
