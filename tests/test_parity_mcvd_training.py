"""MCVD's recorded training: four steps, and the checkpoint that they ended in."""

import pytest
import torch
import yaml
from parity import agree, recording, tensors

from framefill.config import OptimConfig
from framefill.convert.mcvd import mcvd_weights, official_weights
from framefill.convert.mcvd_config import model_config
from framefill.masks import BlockMasks
from framefill.nn.denoisers import BlockDenoiser
from framefill.objective import MaskedLoss
from framefill.training import TrainState

RECORDINGS = ["t_train_ckpt", "t_train_ckpt_spade"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_first_weights_are_of_the_official_size(name: str) -> None:
    folder = recording(f"mcvd/{name}")
    network = model_config(yaml.safe_load((folder / "config.yml").read_text())).build()
    assert isinstance(network, BlockDenoiser)
    ours = official_weights(network)
    for key, theirs in tensors(folder / "init.safetensors").items():
        if "all_modules" not in key:
            continue
        largest = theirs.abs().max().item(), ours[key.removeprefix("module.")].abs().max().item()
        if theirs.numel() < 50 and theirs.ndim > 1:
            continue  # too few draws to tell their bound
        assert largest[1] == pytest.approx(largest[0], rel=0.1), key


@pytest.mark.parametrize("name", RECORDINGS)
def test_four_steps(name: str) -> None:
    folder = recording(f"mcvd/{name}")
    official = yaml.safe_load((folder / "config.yml").read_text())
    config = model_config(official)
    assert isinstance(config.masks, BlockMasks)
    network = config.build()
    assert isinstance(network, BlockDenoiser)
    network.load_state_dict(mcvd_weights(network, tensors(folder / "init.safetensors")))
    optim = OptimConfig(
        lr=official["optim"]["lr"],
        warmup=official["optim"]["warmup"],
        clip_norm=official["optim"]["grad_clip"],
        eps=official["optim"]["eps"],
        ema=official["model"]["ema_rate"],
    )
    state = TrainState.of(network, optim)
    recorded = tensors(folder / "steps.safetensors")
    for step in range(4):
        now = {key[2:]: value for key, value in recorded.items() if key[0] == str(step)}
        clip = 2 * now["X01"] - 1
        roles = config.masks.roles_of(now["u_past"], now["u_future"])
        levels = torch.where(roles == 2, 1000.0 - now["labels"][:, None], 0.0)
        noise = torch.zeros_like(clip)
        end = config.masks.past + config.masks.target
        noise[:, config.masks.past : end] = now["z"].unflatten(1, (-1, config.channels))
        losses = MaskedLoss(reduction="half_sum").at(
            network, config.diffusion, clip, roles, levels, noise
        )
        report = state.descend([losses], optim, clips=len(clip))
        assert report.lr == pytest.approx(now["lr"].item(), rel=1e-6)
        agree(torch.tensor(report.loss), now["loss"], 1e-6, f"{name}: loss")
        agree(torch.tensor(report.grad_norm), now["grad_norm"], 1e-5, f"{name}: gradient norm")
    states = torch.load(folder / "checkpoint_4.pt", weights_only=True)
    for ours, theirs, what in (
        (state.network, states[0], "weights"),
        (state.average, states[-1], "averaged weights"),
    ):
        trained = ours.state_dict()
        for key, value in mcvd_weights(network, theirs).items():
            # Weights that began at 1e-5 have moved as far as the others: compare with the step.
            error = (trained[key] - value).abs().max().item()
            assert error <= 1e-6, f"{name}: {what} {key} is off by {error:.1e}"
    io = tensors(folder / "io.safetensors")
    past, target, future = (
        io["cond"][:, : config.masks.past * config.channels],
        io["x"],
        io["cond"][:, config.masks.past * config.channels :],
    )
    clip = torch.cat([past, target, future], dim=1).unflatten(1, (-1, config.channels))
    labels = io["labels"][:, None].float().expand(-1, config.masks.frames)
    roles = torch.full(labels.shape, 1, dtype=torch.int8)
    with torch.no_grad():
        for ours, key in ((state.network, "output_raw"), (state.average, "output_ema")):
            output = ours(clip, labels, roles)[:, config.masks.past : end].flatten(1, 2)
            agree(output, io[key], 1e-3, f"{name}: {key}")
