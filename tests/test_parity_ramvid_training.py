"""RaMViD's recorded training: three steps in microbatches, two averages, and the files written."""

from pathlib import Path

import pytest
import torch
from parity import agree, config, recording, tensors
from test_parity_ramvid import build, diffusion_of, to_clip
from torch import Tensor

from framefill.config import OptimConfig
from framefill.convert.ramvid import volume_weights
from framefill.nn.denoisers import VolumeDenoiser
from framefill.objective import MaskedLoss
from framefill.roles import Role
from framefill.training import TrainState

NAME = "ramvid/train_and_checkpoint"


def test_first_weights_are_of_the_official_size() -> None:
    network = build(config(NAME)["unet"])
    initial = tensors(recording(NAME) / "init_weights.safetensors")
    official = volume_weights(network, initial)
    for name, ours in network.state_dict().items():
        theirs = official[name]
        if ours.std() == 0 or (ours.numel() < 50 and ours.ndim > 1):
            continue  # 0 or 1, where the recording has random values; too few draws to tell
        largest = theirs.abs().max().item(), ours.abs().max().item()
        assert largest[1] == pytest.approx(largest[0], rel=0.15), name


def test_three_steps() -> None:
    folder, report = recording(NAME), config(NAME)
    recorded = tensors(folder / "train.safetensors")
    network = build(report["unet"]).train()
    network.load_state_dict(volume_weights(network, tensors(folder / "init_weights.safetensors")))
    optim = OptimConfig(
        lr=report["lr"],
        warmup=0,
        betas=tuple(report["betas"]),
        eps=report["eps"],
        weight_decay=report["weight_decay"],
        clip_norm=report["clip"],
        ema=report["ema_rates"][0],
        more_ema=tuple(report["ema_rates"][1:]),
    )
    state = TrainState.of(network, optim)
    diffusion, loss = diffusion_of(report["diffusion"]), MaskedLoss()
    for number, step in enumerate(report["steps"]):
        batch = to_clip(recorded[f"step{number}/batch"]).split(report["microbatch"])

        def losses(number: int = number, step: dict = step, batch: tuple = batch):
            for part, clip in enumerate(batch):
                key = f"step{number}/micro{part}"
                mask = recorded[f"{key}/mask"].view(len(clip), -1)
                roles = torch.where(mask == 1, Role.TARGET, Role.KNOWN).to(torch.int8)
                known = [(row == Role.KNOWN).nonzero().flatten().tolist() for row in roles]
                assert known == [sorted(i or []) for i in step["micro"][part]["mask_indices"]]
                levels = torch.where(mask == 1, recorded[f"{key}/t"][:, None] + 1.0, 0.0)
                noise = to_clip(recorded[f"{key}/noise"])
                values = loss.at(network, diffusion, clip, roles, levels, noise)
                agree(values, recorded[f"{key}/loss"], 1e-5, f"{NAME}: loss")
                yield values

        taken = state.descend(losses(), optim, clips=report["batch"])
        norm = torch.tensor(step["pre_clip_grad_norm"])
        agree(torch.tensor(taken.grad_norm), norm, 1e-5, f"{NAME}: gradient norm")
    optimizer = official_moments(folder, network)
    compared = 0
    for file, trained in (
        ("model000003.pt", state.network),
        (f"ema_{report['ema_rates'][0]}_000003.pt", state.average),
    ):
        weights = torch.load(folder / file, weights_only=True)
        theirs = volume_weights(network, weights)
        for name, ours in trained.state_dict().items():
            # Weights whose gradient is 0 but for rounding go where that leads, a step each time.
            moved = optimizer[name].sqrt() > 1e-5 * largest(optimizer)
            error = (ours - theirs[name]).abs()[moved]
            compared += error.numel()
            assert error.numel() == 0 or error.max() <= 1e-6, f"{file}: {name}"
    assert compared > 0.9 * 2 * sum(p.numel() for p in network.parameters())
    second = state.optimizer.state_dict()["state"]
    for i, (name, _) in enumerate(network.named_parameters()):
        ours = second[i]["exp_avg_sq"]
        error = (ours.sqrt() - optimizer[name].sqrt()).abs().max()
        assert error <= 1e-4 * largest(optimizer), f"second moment of {name}"


def official_moments(folder: Path, network: VolumeDenoiser) -> dict[str, Tensor]:
    """Return the recorded second moments of AdamW under our names."""
    saved = torch.load(folder / "opt000003.pt", weights_only=True)["state"]
    names = torch.load(folder / "model000003.pt", weights_only=True)
    moments = {name: saved[i]["exp_avg_sq"] for i, name in enumerate(names)}
    return volume_weights(network, moments)


def largest(moments: dict[str, Tensor]) -> float:
    return max(value.max().item() for value in moments.values()) ** 0.5
