"""RaMViD's recorded training: three steps in microbatches, two averages, and the files written."""

import pytest
import torch
from parity import agree, config, recording, tensors
from test_parity_ramvid import build, diffusion_of, to_clip

from framefill.config import OptimConfig
from framefill.convert.ramvid import volume_weights
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
        if ours.numel() < 50 and ours.ndim > 1:
            continue  # too few draws to tell their bound
        largest = theirs.abs().max().item(), ours.abs().max().item()
        assert largest[1] == pytest.approx(largest[0], rel=0.15), name


def test_three_steps() -> None:
    folder, report = recording(NAME), config(NAME)
    recorded = tensors(folder / "train.safetensors")
    network = build(report["unet"]).train()
    network.load_state_dict(
        volume_weights(network, tensors(folder / "init_weights.safetensors"))
    )
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
    first, second = report["ema_rates"]
    for file, trained in (
        ("model000003.pt", state.network),
        (f"ema_{first}_000003.pt", state.average),
        (f"ema_{second}_000003.pt", state.more[second]),
    ):
        if not (folder / file).is_file():
            continue
        weights = torch.load(folder / file, weights_only=True)
        ours = trained.state_dict()
        for name, theirs in volume_weights(network, weights).items():
            # Weights that began at 0 have moved as far as the others: compare with the step.
            error = (ours[name] - theirs).abs().max().item()
            assert error <= 1e-6, f"{file}: {name} is off by {error:.1e}"
