"""RaMViD's recorded variational bounds: of a whole walk, and of a network that learns variances."""

import json
from dataclasses import replace

import pytest
import torch
from parity import agree, recording, tensors
from test_parity_ramvid import diffusion_of, load, to_clip

from framefill.metrics.bits import bits_per_dimension
from framefill.roles import Role
from framefill.sampling import Ddpm
from framefill.variational import log_variance, reverse_step, step_bits

BIN = 2 / 255  # of 8-bit data in -1..1


@torch.no_grad()
def test_bits_per_dimension() -> None:
    folder = recording("ramvid/a_bpd")
    report = json.loads((folder / "bpd.json").read_text())
    recorded = tensors(folder / "bpd.safetensors")
    network, _ = load("ramvid/a_published_small")
    clip = to_clip(recorded["x_start"])
    noises = iter(recorded["noise"])
    bits = bits_per_dimension(
        network,
        diffusion_of(report["diffusion"], spacing="linspace"),
        clip,
        torch.full(clip.shape[:2], Role.TARGET, dtype=torch.int8),
        sampler=Ddpm(steps=10, variance="large"),
        width=BIN,
        fresh=lambda: to_clip(next(noises)),
    )
    for ours, key in (
        (bits.total, "total_bpd"),
        (bits.prior, "prior_bpd"),
        (bits.steps, "vb"),
        (bits.clean_mse, "xstart_mse"),
        (bits.noise_mse, "mse"),
    ):
        agree(ours, recorded[f"out/{key}"], 1e-5, f"ramvid/a_bpd: {key}")


@pytest.mark.parametrize("clipped", [False, True])
@torch.no_grad()
def test_learned_variance(clipped: bool) -> None:
    name = "ramvid/c_learn_sigma"
    recorded = tensors(recording(name) / "learn_sigma.safetensors")
    network, _ = load(name)
    diffusion = diffusion_of(
        json.loads((recording(name) / "learn_sigma.json").read_text())["diffusion"]
    )
    if not clipped:
        diffusion = replace(diffusion, limits=None)
    clip, noisy = to_clip(recorded["x_start"]), to_clip(recorded["x_t"])
    levels = (recorded["t"].float() + 1)[:, None].expand(clip.shape[:2])
    roles = torch.full(clip.shape[:2], Role.TARGET, dtype=torch.int8)
    parts = diffusion.estimate(
        network(diffusion.canvas(noisy, noisy, roles, levels), diffusion.told(levels), roles),
        noisy,
        levels,
    )
    step = reverse_step(diffusion.schedule, levels, levels - 1)
    two = torch.tensor([[2.0]])
    floor = reverse_step(diffusion.schedule, two, two - 1).small.item()
    logs = log_variance(step, floor, parts, "learned")
    key = f"p_mean_variance_clip{int(clipped)}"
    agree(logs, to_clip(recorded[f"{key}/log_variance"]), 1e-5, f"{name}: log-variance")
    agree(logs.exp(), to_clip(recorded[f"{key}/variance"]), 1e-4, f"{name}: variance")
    agree(parts.clean, to_clip(recorded[f"{key}/pred_xstart"]), 1e-4, f"{name}: clean frames")
    mean = step.to_noisy.float() * noisy + step.to_clean.float() * parts.clean
    agree(mean, to_clip(recorded[f"{key}/mean"]), 1e-4, f"{name}: mean")
    if clipped:
        return  # the official training does not clip
    bits = step_bits(step, floor, parts, clip, noisy, variance="learned", bin_width=BIN)
    agree(bits.flatten(1).mean(1), recorded["vb_bits_no_mask"], 1e-5, f"{name}: bound")
    assert recorded["t"].tolist() == [0, 321]
    bits[1, [0, -1]] = 0  # the official code masks the divergence, but not the coding at step 0
    agree(bits.flatten(1).mean(1), recorded["vb_bits_masks_list"], 1e-5, f"{name}: masked bound")
