"""What training can be told: annealing, averages, microbatches, recomputing, losses, levels."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from framefill.config import Config, LogConfig, OptimConfig, read_config
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.fill import load
from framefill.masks import ContextMasks, RandomMasks
from framefill.nn.config import ContextConfig, VolumeConfig
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.roles import roles_from
from framefill.run import train
from framefill.sampling import Ddpm, DpmSolver2M
from framefill.schedule import LogNormalSchedule, TableSchedule
from framefill.training import TrainState, train_steps


def tiny(**changes: Any) -> Config:
    settings: dict[str, Any] = {
        "data": DigitsConfig(size=16, glyph=8, speed=1, digits=1),
        "masks": ContextMasks(past=2, target=1, future=1),
        "network": ContextConfig(
            width=8, multipliers=(1, 2), blocks=1, attention=(1,), head_width=None, dropout=0.0
        ),
        "diffusion": Diffusion(schedule=TableSchedule(levels=25)),
        "optim": OptimConfig(steps=4, batch=4, lr=1e-3, warmup=0),
        "sampler": DpmSolver2M(steps=2),
        "log": LogConfig(log_every=1, sample_every=0, save_every=2),
        "precision": "float32",
    }
    return Config(**{**settings, **changes})


def learned(kind: str, **changes: Any) -> Config:
    """A training of RaMViD's network that learns its variance."""
    settings: dict[str, Any] = {
        "masks": RandomMasks(frames=3, max_known=1),
        "network": VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=(0,)),
        "diffusion": Diffusion(schedule=TableSchedule(levels=25), learned_spread=True),
        "loss": MaskedLoss(kind=kind, bound_scale=1.0),
    }
    return tiny(**{**settings, **changes})


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max((first[name] - second[name]).abs().max().item() for name in first)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"decay": 1.0}, [1.0, 0.75, 0.5, 0.25]),
        ({"drop": 0.5, "drop_every": 2}, [1.0, 1.0, 0.5, 0.5]),
        ({"inverse_decay": 1.0}, [1.0, 1 / 2, 1 / 3, 1 / 4]),
        ({"warmup": 2}, [0.0, 0.5, 1.0, 1.0]),
        ({}, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_learning_rate_is_annealed(settings: dict[str, Any], rates: list[float]) -> None:
    optim = OptimConfig(**{"steps": 4, "lr": 1.0, "warmup": 0, **settings})
    assert [optim.lr_at(step) for step in range(4)] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop": 0.5}, "go together"),
        ({"drop_every": 5}, "go together"),
        ({"drop": 1.5, "drop_every": 5}, "at most 1"),
        ({"inverse_decay": -1.0}, "inverse_decay -1.0"),
        ({"weight_decay": -0.1}, "weight_decay -0.1"),
        ({"more_ema": (0.999,)}, "all different"),
        ({"more_ema": (0.5, 0.5)}, "all different"),
        ({"more_ema": (1.0,)}, "below 1"),
        ({"microbatch": -1}, "microbatch -1"),
        ({"clip_norm": -1.0}, "clip_norm -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptimConfig(**settings)


def test_every_average_becomes_a_model_and_comes_back(tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(steps=4, batch=2, warmup=0, ema=0.9, more_ema=(0.5, 0.0)))
    train(config, out=tmp_path / "whole", progress=False)
    short = replace(config, optim=replace(config.optim, steps=2))
    train(short, out=tmp_path / "parts", progress=False)
    train(config, out=tmp_path / "parts", progress=False)
    names = ["model", "model-ema-0.5", "model-ema-0.0"]
    ours = [weights(tmp_path / "whole" / name) for name in names]
    for name, whole in zip(names, ours, strict=True):
        assert apart(whole, weights(tmp_path / "parts" / name)) == 0, name
    last = load_file(tmp_path / "whole" / "checkpoints" / "00000004" / "network.safetensors")
    distances = [apart(average, last) for average in ours]
    assert distances[0] > distances[1] > distances[2] == 0
    assert load(tmp_path / "whole" / "model-ema-0.5").model.config == config.model()


def test_a_run_goes_on_with_more_steps_where_none_depends_on_their_number(tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(steps=2, batch=2, warmup=0))
    longer = replace(config, optim=replace(config.optim, steps=4))
    train(config, out=tmp_path / "run", progress=False)
    train(longer, out=tmp_path / "run", progress=False)
    assert read_config(tmp_path / "run" / "config.json").optim.steps == 4
    said: list[str] = []
    train(config, out=tmp_path / "run", progress=False, say=said.append)
    assert said == ["at step 4 of 2 already: to go on, raise --optim.steps"]
    smaller = replace(longer, optim=replace(longer.optim, steps=5, microbatch=1))
    train(smaller, out=tmp_path / "run", progress=False)
    falling = tiny(optim=OptimConfig(steps=2, batch=2, warmup=0, decay=0.5))
    train(falling, out=tmp_path / "falling", progress=False)
    with pytest.raises(InputError, match="another config"):
        train(
            replace(falling, optim=replace(falling.optim, steps=4)),
            out=tmp_path / "falling",
            progress=False,
        )


@pytest.mark.parametrize("microbatch", [1, 3])
def test_microbatches_change_nothing_but_memory(microbatch: int) -> None:
    states = []
    for size in (0, microbatch):
        config = tiny(optim=OptimConfig(steps=3, batch=4, warmup=0, microbatch=size))
        state = TrainState.start(config, torch.device("cpu"))
        reports = list(train_steps(config, state, config.clips("train")))
        states.append((state.network.state_dict(), reports))
    (whole, one), (parts, other) = states
    assert [r.loss for r in one] == pytest.approx([r.loss for r in other], rel=1e-4)
    assert [r.grad_norm for r in one] == pytest.approx([r.grad_norm for r in other], rel=1e-3)
    assert apart(whole, parts) < 1e-4


@pytest.mark.parametrize("config", [tiny(), learned("hybrid")], ids=["context", "volume"])
def test_recomputed_blocks_give_the_same_gradients(config: Config) -> None:
    gradients = []
    for recompute in (False, True):
        state = TrainState.start(replace(config, recompute=recompute), torch.device("cpu"))
        for _ in train_steps(
            replace(config, optim=replace(config.optim, steps=2)), state, config.clips("train")
        ):
            gradients.append([p.grad.clone() for p in state.network.parameters()])
            break
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_recomputing_keeps_fewer_activations() -> None:
    kept = []
    for recompute in (False, True):
        config = learned("hybrid", recompute=recompute)
        state = TrainState.start(config, torch.device("cpu"))
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor,
            lambda tensor: tensor,
        ):
            canvas = torch.randn(1, 3, 1, 16, 16)
            roles = roles_from("KTT").expand(1, -1)
            state.network(canvas, torch.ones(1, 3), roles)
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]


def outputs(config: Config, seed: int = 0) -> tuple[TrainState, Tensor, Tensor]:
    """Return a state whose network gives more than zeros, a clip and its roles."""
    state = TrainState.start(config, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in state.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    clip = torch.randint(0, 256, (2, 3, 1, 16, 16), generator=generator) / 127.5 - 1
    return state, clip, roles_from("KTT").expand(2, -1)


def loss_of(config: Config, loss: MaskedLoss, level: float = 9.0) -> tuple[Tensor, list[Tensor]]:
    """Return the losses at one level, and the gradient with respect to the last layer."""
    state, clip, roles = outputs(config)
    levels = torch.where(roles == 2, level, 0.0)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(3))
    losses = loss.at(state.network, config.diffusion, clip, roles, levels, noise)
    losses.sum().backward()
    head = state.network.unet.head.conv
    return losses.detach(), list(head.weight.grad.chunk(2))


@pytest.mark.parametrize("level", [1.0, 9.0])
def test_the_hybrid_loss_teaches_the_variance_without_moving_the_mean(level: float) -> None:
    config = learned("hybrid")
    hybrid, (mean, spread) = loss_of(config, config.loss, level)
    error, (plain, nothing) = loss_of(config, MaskedLoss(), level)
    bound, (moved, taught) = loss_of(config, MaskedLoss(kind="bound"), level)
    assert torch.allclose(hybrid, error + bound, rtol=1e-5)
    assert torch.allclose(mean, plain, atol=1e-6)
    assert nothing.abs().max() == 0
    assert torch.allclose(spread, taught, atol=1e-6)
    assert taught.abs().max() > 0
    assert moved.abs().max() > 0


def test_the_bound_is_of_targets_alone_and_scales() -> None:
    config = learned("bound")
    one, _ = loss_of(config, MaskedLoss(kind="bound"))
    ten, _ = loss_of(config, MaskedLoss(kind="bound", bound_scale=10.0))
    assert torch.allclose(10 * one, ten)
    _, clip, roles = outputs(config)
    levels = torch.where(roles == 2, 9.0, 0.0)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(3))

    def bound() -> Tensor:
        return MaskedLoss(kind="bound").at(
            lambda canvas, labels, roles: torch.zeros(2, 3, 2, 16, 16),
            config.diffusion,
            clip,
            roles,
            levels,
            noise,
        )

    every = bound()
    noise[:, 0] = 17.0  # of the frame that is given
    assert torch.equal(every, bound())
    noise[:, 1] = 17.0
    assert not torch.equal(every, bound())


@pytest.mark.parametrize("kind", ["hybrid", "bound"])
def test_losses_with_a_learned_variance_train(kind: str, tmp_path: Path) -> None:
    config = learned(kind, optim=OptimConfig(steps=12, batch=2, warmup=0, lr=3e-3))
    state = TrainState.start(config, torch.device("cpu"))
    losses = [report.loss for report in train_steps(config, state, config.clips("train"))]
    assert all(map(math.isfinite, losses))
    assert sum(losses[-4:]) < sum(losses[:4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": MaskedLoss(kind="hybrid")}, "teach a learned variance"),
        (
            {"diffusion": Diffusion(learned_spread=True), "loss": MaskedLoss()},
            "teach a learned variance",
        ),
        (
            {
                "diffusion": Diffusion(learned_spread=True),
                "loss": MaskedLoss(kind="hybrid", bins=4095),
            },
            "bins 4095",
        ),
        (
            {
                "diffusion": Diffusion(schedule=LogNormalSchedule(), labels="log", predicts="edm"),
                "loss": MaskedLoss(levels="loss_aware"),
            },
            "need a table",
        ),
    ],
)
def test_losses_that_do_not_go_with_the_diffusion_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tiny(
            network=VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=()),
            masks=RandomMasks(frames=3, max_known=1),
            **changes,
        )


def test_loss_aware_levels_resume_bit_for_bit(tmp_path: Path) -> None:
    config = tiny(
        loss=MaskedLoss(levels="loss_aware"),
        diffusion=Diffusion(schedule=TableSchedule(levels=21)),
        optim=OptimConfig(steps=40, batch=16, warmup=0),
        log=LogConfig(log_every=1, sample_every=0, save_every=30),
    )
    train(config, out=tmp_path / "whole", progress=False)
    short = replace(config, optim=replace(config.optim, steps=30))
    train(short, out=tmp_path / "parts", progress=False)
    state = TrainState.start(config, torch.device("cpu"))
    assert state.history is not None
    saved = load_file(tmp_path / "parts" / "checkpoints" / "00000030" / "history.safetensors")
    assert (saved["counts"] == 10).all(), "the levels are not drawn by their losses yet"
    train(config, out=tmp_path / "parts", progress=False)
    ours, theirs = (weights(tmp_path / name / "model") for name in ("whole", "parts"))
    assert apart(ours, theirs) == 0
    plain = replace(config, loss=MaskedLoss())
    train(plain, out=tmp_path / "plain", progress=False)
    assert apart(ours, weights(tmp_path / "plain" / "model")) > 0


def test_known_frames_stay_within_their_range() -> None:
    masks = RandomMasks(frames=8, max_known=3, unconditional=0.0, within=(2, 6))
    roles = masks.sample(500, torch.Generator().manual_seed(0))
    known = (roles == 1).sum(0)
    assert (known[[0, 1, 6, 7]] == 0).all()
    assert (known[2:6] > 100).all()
    counts = (roles == 1).sum(1)
    assert {1, 2, 3} == set(counts.tolist())
    assert masks.allows("TTKTTTTT")
    assert not masks.allows("KTTTTTTT")
    for within in ((3, 3), (0, 9), (-1, 4), (0, 2)):
        with pytest.raises(InputError, match="within"):
            RandomMasks(frames=8, max_known=3, within=within)


def test_gradients_of_any_length_may_pass() -> None:
    moved = []
    for clip in (0.0, 1e-6):
        config = tiny(optim=OptimConfig(steps=1, batch=2, warmup=0, lr=1e-3, clip_norm=clip))
        state = TrainState.start(config, torch.device("cpu"))
        (report,) = train_steps(config, state, config.clips("train"))
        assert report.grad_norm > 1e-3
        gradients = [p.grad.norm() for p in state.network.parameters() if p.grad is not None]
        moved.append(torch.stack(gradients).norm().item())
    assert moved[0] == pytest.approx(report.grad_norm, rel=1e-3)
    assert moved[1] < 2e-6


def test_bins_are_those_of_the_data() -> None:
    learned("hybrid")
    fractions = Normaliser(offset=(0.0,), scale=(255.0,))
    with pytest.raises(InputError, match=r"fill -1\.\.1"):
        learned("hybrid", normaliser=fractions)
    floats = Normaliser(dtype="float32", offset=(0.5,), scale=(0.5,), high=1.0)
    with pytest.raises(InputError, match="without a smallest step"):
        learned("hybrid", normaliser=floats, loss=MaskedLoss(kind="hybrid", bins=1))


def test_means_over_clips_leave_out_absent_frames_and_want_clean_known_ones() -> None:
    loss = MaskedLoss(reduction="clip_mean")
    diffusion = Diffusion(predicts="clean")
    clip = torch.rand(1, 3, 1, 16, 16)
    roles, levels = roles_from("KT-").expand(1, -1), torch.tensor([[0.0, 9.0, 0.0]])

    def at(clip: Tensor) -> Tensor:
        return loss.at(
            lambda canvas, labels, roles: canvas * 0,
            diffusion,
            clip,
            roles,
            levels,
            torch.zeros_like(clip),
        )

    hidden = clip.clone()
    hidden[:, 2] = 17.0
    assert torch.equal(at(clip), at(hidden))
    assert at(clip).item() == pytest.approx(clip[:, :2].square().mean().item())
    with pytest.raises(InputError, match="clean KNOWN frames"):
        tiny(loss=MaskedLoss(reduction="clip_mean", known_level=3.0))


def test_a_sampler_wants_no_variance_that_is_not_learned() -> None:
    with pytest.raises(InputError, match="needs learned_spread"):
        tiny(sampler=Ddpm(steps=5, variance="learned"))
