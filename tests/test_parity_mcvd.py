"""MCVD's recordings: the network with concatenation, the loss, the schedules and the samplers."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from parity import agree, config, metadata, recording, tensors
from torch import Tensor

from framefill.completion import estimator
from framefill.convert.mcvd import mcvd_weights, official_weights
from framefill.convert.mcvd_config import model_config
from framefill.diffusion import Diffusion, Estimate
from framefill.masks import BlockMasks
from framefill.model_config import SamplerConfig
from framefill.objective import MaskedLoss
from framefill.pndm import Pndm
from framefill.roles import roles_from
from framefill.sampling import Ddim, Ddpm, _denoised
from framefill.schedule import TableSchedule
from framefill.types import Preparable

NETWORKS = [
    "mcvd/a_concat_pastfuture_gray",
    "mcvd/b_concat_past_rgb",
    "mcvd/c_spade",
    "mcvd/d_3d",
    "mcvd/d_pseudo3d",
    "mcvd/d_3d_spade",
    "mcvd/d_pseudo3d_spade",
    "mcvd/e_cond_emb",
]
CONCAT = ["mcvd/a_concat_pastfuture_gray", "mcvd/b_concat_past_rgb"]
SCHEDULE = TableSchedule(kind="linear", levels=1000, spacing="trailing")


class Case:
    """A recorded network, rebuilt, with the conversions between their tensors and clips."""

    def __init__(self, name: str) -> None:
        self.folder = recording(name)
        self.config = model_config(config(name))
        self.channels = self.config.channels
        assert isinstance(self.config.masks, BlockMasks)
        self.masks = self.config.masks
        self.network = self.config.build()
        weights = mcvd_weights(self.network, tensors(self.folder / "model.safetensors"))
        self.network.load_state_dict(weights)
        self.network.eval()

    def frames(self, image: Tensor) -> Tensor:
        return image.unflatten(1, (-1, self.channels))

    def clip(self, target: Tensor, known: Tensor) -> Tensor:
        """Put frames into chronological order: past, target, future."""
        known = self.frames(known)
        past, future = known[:, : self.masks.past], known[:, self.masks.past :]
        return torch.cat([past, self.frames(target), future], dim=1)

    def target(self, clip: Tensor) -> Tensor:
        end = self.masks.past + self.masks.target
        return clip[:, self.masks.past : end].flatten(1, 2)

    def labels(self, labels: Tensor) -> Tensor:
        return labels.float()[:, None].expand(-1, self.masks.frames)

    def roles_told(self, past: Tensor) -> Tensor:
        """The roles of clips whose past is there (1) or not (0)."""
        roles = self.roles.repeat(len(past), 1)
        roles[past == 0, : self.masks.past] = 0
        return roles

    @property
    def roles(self) -> Tensor:
        return roles_from("K" * self.masks.past + "T" * self.masks.target + "K" * self.masks.future)


@pytest.fixture(params=NETWORKS)
def network_case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(params=CONCAT)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@torch.no_grad()
def test_network(network_case: Case) -> None:
    case, io = network_case, tensors(network_case.folder / "io.safetensors")
    roles = case.roles.expand(3, -1)
    for known, expected in (("cond", "output"), ("cond_past_masked", "output_past_masked")):
        if known in io:
            output = case.network(case.clip(io["x"], io[known]), case.labels(io["labels"]), roles)
            tolerance = 3e-5 if "3d_spade" in case.folder.name else 1e-5  # normed twice as often
            agree(case.target(output), io[expected], tolerance, f"{case.folder.name}: network")
    if "cond_mask" in io:
        told = case.network(
            case.clip(io["x"], io["cond"]),
            case.labels(io["labels"]),
            case.roles_told(io["cond_mask"]),
        )
        agree(case.target(told), io["output_cond_mask"], 1e-5, f"{case.folder.name}: told past")


@torch.no_grad()
def test_maps_of_a_walk_are_those_of_every_step(network_case: Case) -> None:
    case, io = network_case, tensors(network_case.folder / "io.safetensors")
    if not isinstance(case.network, Preparable):
        return
    roles, clip = case.roles.expand(3, -1), case.clip(io["x"], io["cond"])
    prepared = case.network.prepare(clip, roles)
    for labels in (io["labels"], io["labels"] // 2):
        told = case.labels(labels)
        theirs = case.network(clip, told, roles)
        assert torch.allclose(prepared(clip, told, roles), theirs, atol=1e-5)


def test_loss_and_gradients(network_case: Case) -> None:
    case = network_case
    recorded = tensors(case.folder / "loss.safetensors")
    clip = case.clip(recorded["x0"], recorded["cond"])
    noise = case.clip(recorded["z"], torch.zeros_like(recorded["cond"]))
    roles = case.roles.expand(len(clip), -1)
    told = case.roles_told(recorded.get("cond_mask", torch.ones(len(clip))))

    def denoiser(canvas: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        return case.network(canvas, labels, told)  # the recording shows a past and denies it

    levels = torch.where(roles == 2, 1000 - recorded["labels"][:, None].float(), 0.0)
    diffusion = Diffusion(schedule=SCHEDULE, labels="countdown")
    loss = MaskedLoss(reduction="half_sum").at(denoiser, diffusion, clip, roles, levels, noise)
    name = case.folder.name
    agree(loss, recorded["loss_per_sample"], 1e-5, f"{name}: loss")
    agree(loss.mean(), recorded["loss"], 1e-5, f"{name}: loss")
    loss.mean().backward()
    gradients = {key: p.grad for key, p in case.network.named_parameters()}
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    agree(norm, recorded["grad_norm"], 1e-5, f"{name}: gradient norm")
    for official, gradient in recorded.items():
        if official.startswith("grad/"):
            ours = _gradient(case, gradients, official.removeprefix("grad/"))
            agree(ours, gradient, 1e-4, f"{name}: gradients")
    absolute = MaskedLoss(reduction="half_sum", norm="absolute")
    with torch.no_grad():
        loss = absolute.at(denoiser, diffusion, clip, roles, levels, noise)
    agree(loss.mean(), recorded["loss_L1"], 1e-5, f"{name}: absolute loss")


def test_official_weights_come_back(network_case: Case) -> None:
    official = tensors(network_case.folder / "model.safetensors")
    parameters = {name: value for name, value in official.items() if "all_modules" in name}
    back = official_weights(network_case.network)
    assert set(back) == set(parameters)
    assert all(torch.equal(back[name], parameters[name]) for name in back)


def _gradient(case: Case, gradients: dict[str, Any], official: str) -> Tensor:
    """Find one official parameter's gradient among ours, by converting marked weights."""
    names = tensors(case.folder / "model.safetensors")
    marked = {key: torch.zeros_like(value) for key, value in names.items()}
    marked[official] = torch.arange(1, names[official].numel() + 1).reshape(names[official].shape)
    for ours, mark in mcvd_weights(case.network, marked).items():
        if mark.any():
            order = mark.flatten()[mark.flatten() > 0].long() - 1
            values = torch.empty(names[official].numel())
            values[order] = gradients[ours].flatten()[mark.flatten() > 0]
            return values.reshape(names[official].shape)
    raise AssertionError(f"{official} is lost")


def test_schedules(case: Case) -> None:
    recorded = tensors(case.folder / "schedules.safetensors")
    cosine = TableSchedule(kind="cosine", levels=1000, max_beta=1.0)
    for prefix, schedule in (("", SCHEDULE), ("cosine_", cosine)):
        alphas = schedule.alpha_squared.flip(0)  # the official index 0 is the noisiest
        what = f"{case.folder.name}: {prefix or 'linear_'}schedule"
        agree(alphas[:-1], recorded[f"{prefix}alphas"], 1e-5, what)
        agree(alphas[1:], recorded[f"{prefix}alphas_prev"], 1e-5, what)
        agree(
            1 - alphas[:-1] / alphas[1:], recorded[f"{prefix}betas"], 1e-4, what
        )  # 1 - x/y in float32


def test_masks(case: Case) -> None:
    recorded = tensors(case.folder / "conditioning.safetensors")
    clip = 2 * recorded["X01"] - 1
    variants = {key.split("/")[0] for key in recorded if key.endswith("/cond")}
    assert {"nomask", "allmask"} <= variants
    for variant in variants:
        drop = {"nomask": 0.0, "indep": 0.5, "sync": 0.5, "allmask": 1.0}[variant]
        masks = BlockMasks(
            past=case.masks.past,
            target=case.masks.target,
            future=case.masks.future,
            drop_past=drop,
            drop_future=drop,
            synchronised=variant == "sync",
        )
        draws = [recorded.get(f"{variant}/u{i}", torch.rand(len(clip))) for i in range(2)]
        roles = masks.roles_of(*draws)
        frames = clip[:, : masks.frames]
        canvas = Diffusion().canvas(frames, frames, roles, torch.zeros(roles.shape))
        expected = case.clip(recorded[f"{variant}/x"], recorded[f"{variant}/cond"])
        assert torch.equal(canvas, expected), variant


SAMPLERS = [
    (name, kind)
    for name in CONCAT
    for kind in (
        "ddpm",
        "ddpm_noclip_nodenoise",
        "ddpm_just_beta",
        "ddim",
        "ddim_noclip",
        "ddim_tmin",
        "fpndm",
        "fpndm_clip",
    )
    if name == CONCAT[0] or kind in ("ddpm", "ddpm_noclip_nodenoise", "ddim", "fpndm")
]


def sampler_of(kind: str, options: dict[str, Any]) -> SamplerConfig:
    """Return our sampler for the official one's arguments."""
    steps, denoise = options["subsample_steps"], options.get("denoise", False)
    if kind.startswith("fpndm"):
        return Pndm(steps=steps, as_published=True, clip=options["clip_before"])
    if kind.startswith("ddim"):
        return Ddim(steps=steps, denoise=denoise, as_published=True)
    variance: Literal["small", "large"] = "large" if options.get("just_beta") else "small"
    return Ddpm(steps=steps, variance=variance, denoise=denoise, as_published=True)


@pytest.mark.parametrize(("name", "kind"), SAMPLERS)
@torch.no_grad()
def test_samplers(name: str, kind: str) -> None:
    case = Case(name)
    path = case.folder / f"sampler_{kind}.safetensors"
    recorded, options = tensors(path), metadata(path)["kwargs"]
    diffusion = Diffusion(
        schedule=SCHEDULE,
        labels="countdown",
        limits=(-1.0, 1.0) if options["clip_before"] else None,
        keep_noise=True,
    )
    sampler = sampler_of(kind, options)
    walk = sampler.walk(SCHEDULE)
    start, noises = recorded["init"], list(recorded.get("noise", []))
    if "t_min" in options:
        # What the official comparison of unlike units comes to: the first step is left out, and
        # the frames given to start from get the noise of the second.
        start = walk[1].alpha * start + walk[1].sigma * noises.pop(0)
    known = case.clip(torch.zeros_like(start), recorded["cond"])
    inner = estimator(case.network, diffusion, known, case.roles)
    visited: list[tuple[Tensor, float]] = []

    def estimate(noisy: Tensor, level: float) -> Estimate:
        visited.append((case.target(noisy), 1000 - level))
        return inner(noisy, level)

    empty = torch.zeros_like(recorded["cond"])
    # Our walks draw noise at the last step too, where it has no effect.
    noises += [torch.zeros_like(start)] * (len(walk) - len(noises))
    fresh = iter([case.clip(noise, empty) for noise in noises])
    noisy = case.clip(start, empty)
    if "t_min" in options:
        assert isinstance(sampler, Ddim)
        partial = replace(sampler, denoise=False)
        final = partial(noisy, estimate, walk[1:], lambda: next(fresh))
        final = _denoised(final, estimate, walk)
    else:
        final = sampler(noisy, estimate, walk, lambda: next(fresh))
    assert [label for _, label in visited] == recorded["net_labels"].flatten().tolist()
    for (noisy, _), expected in zip(visited, recorded["net_x"], strict=True):
        scale = max(1.0, expected.abs().max().item())
        assert (noisy - expected).abs().max() <= 1e-3 * scale
    what = f"{case.folder.name}: {kind}"
    agree(case.target(final), recorded["final"], 1e-3, what)
