"""RaMViD's recorded walks: every step of its samplers, repeated steps and encoding."""

import json
from dataclasses import replace

import pytest
import torch
from parity import agree, recording, tensors
from test_parity_ramvid import diffusion_of, load, to_clip
from torch import Tensor

from framefill.completion import estimator
from framefill.diffusion import Diffusion, Estimate
from framefill.posterior import Variance
from framefill.roles import Role
from framefill.sampling import Ddim, Ddpm, Sampler
from framefill.variational import log_variance, reverse_step

SAMPLERS = [
    "ramvid/a_samplers",
    "ramvid/c_learn_sigma_samplers",
    "ramvid/f_xstart_small_sigma_cosine_samplers",
]


class Walks:
    """The recorded sampler runs of one network."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, recording(name)
        self.report = json.loads((self.folder / "samplers.json").read_text())
        self.recorded = tensors(self.folder / "samplers.safetensors")
        weights = self.report["weights"].split("/")[1]
        self.network, _ = load(f"ramvid/{weights}")

    def run(
        self,
        sampler: Sampler,
        known: list[int],
        *,
        spacing: str,
        clip: bool = True,
        noises: str = "step_noise",
        timesteps: str = "p_sample/timestep_map",
    ) -> list[Tensor]:
        """Return the state after every call of the network."""
        diffusion = self.diffusion(spacing)
        if not clip:
            diffusion = replace(diffusion, limits=None)
        video = to_clip(self.recorded["video"])
        roles = torch.full(video.shape[:2], Role.TARGET, dtype=torch.int8)
        roles[:, known] = Role.KNOWN
        inner, states = estimator(self.network, diffusion, video, roles), []

        def estimate(noisy: Tensor, level: float) -> Estimate:
            states.append(noisy)
            return inner(noisy, level)

        walk = sampler.walk(diffusion.schedule)
        steps = [step.level - 1 for step in reversed(walk[:-1])]
        assert steps == self.recorded[timesteps].tolist()
        draws = iter(self.recorded[noises])
        start = to_clip(self.recorded["init_noise"])
        states.append(sampler(start, estimate, walk, lambda: to_clip(next(draws))))
        assert next(draws, None) is None, "the official code draws more noise"
        return [state[roles == Role.TARGET] for state in states[1:]]

    def diffusion(self, spacing: str) -> Diffusion:
        return diffusion_of(self.report["diffusion"], spacing=spacing)

    @property
    def variance(self) -> Variance:
        options = self.report["diffusion"]
        fixed = "small" if options["sigma_small"] else "large"
        return "learned" if options["learn_sigma"] else fixed

    def agree(self, states: list[Tensor], key: str, known: list[int]) -> None:
        recorded = self.recorded[key]
        frames = [i for i in range(recorded.shape[-3]) if i not in known]
        steps = recorded if recorded.dim() == 6 else recorded[None]
        for ours, theirs in zip(states[-len(steps) :], steps, strict=True):
            kind = key.split("/")[0]
            agree(ours, to_clip(theirs)[:, frames].flatten(0, 1), 1e-3, f"{self.name}: {kind}")


@pytest.mark.parametrize("name", SAMPLERS)
@torch.no_grad()
def test_samplers(name: str) -> None:
    walks = Walks(name)
    ddpm = Ddpm(steps=10, variance=walks.variance)
    compared = 0
    for key in walks.recorded:
        kind, _, rest = key.partition("/")
        if not rest.endswith(("/x", "/x_final")) or kind == "resample2":
            continue
        known = [int(i) for i in rest.split("/")[0].split("_")[1:]]
        match kind:
            case "p_sample":
                states = walks.run(ddpm, known, spacing="linspace")
            case "p_sample_noclip":
                states = walks.run(ddpm, known, spacing="linspace", clip=False)
            case _:
                ddim = Ddim(steps=10, eta=float(kind.removeprefix("ddim_eta")))
                states = walks.run(ddim, known, spacing="leading", timesteps="ddim/timestep_map")
        walks.agree(states, key, known)
        compared += 1
    assert compared >= 7


@pytest.mark.parametrize("name", SAMPLERS)
@torch.no_grad()
def test_repeated_steps(name: str) -> None:
    walks = Walks(name)
    states = walks.run(
        Ddpm(steps=4, variance=walks.variance, repeats=2),
        [0],
        spacing="linspace",
        noises="resample2/step_noise",
        timesteps="resample2/timestep_map",
    )
    # The network is called on what a step left and on that noised again, in turns; the end of
    # each repeated step is what is recorded.
    ends = to_clip(walks.recorded["resample2/cond_0/x"].flatten(0, 1))[:, 1:]
    for position, end in enumerate(ends):
        state = states[2 * position + 1]
        agree(state, end, 1e-3, f"{name}: repeated steps")


@pytest.mark.parametrize("name", SAMPLERS)
@torch.no_grad()
def test_one_step_in_parts(name: str) -> None:
    walks = Walks(name)
    diffusion = walks.diffusion("linspace")
    walk = Ddpm(steps=10).walk(diffusion.schedule)[::-1]
    here, there = walk[7], walk[6]
    noisy = to_clip(walks.recorded["ddim_reverse/x_in"])
    roles = torch.full(noisy.shape[:2], Role.TARGET, dtype=torch.int8)
    parts = estimator(walks.network, diffusion, noisy, roles)(noisy, here.level)
    levels = torch.full(noisy.shape[:2], here.level), torch.full(noisy.shape[:2], there.level)
    step = reverse_step(diffusion.schedule, *levels)
    key = "p_mean_variance_idx6"
    agree(parts.clean, to_clip(walks.recorded[f"{key}/pred_xstart"]), 1e-4, f"{name}: clean")
    mean = step.to_noisy.float() * noisy + step.to_clean.float() * parts.clean
    agree(mean, to_clip(walks.recorded[f"{key}/mean"]), 1e-4, f"{name}: mean")
    logs = log_variance(step, 0.0, parts, walks.variance).expand(noisy.shape)
    recorded = to_clip(walks.recorded[f"{key}/log_variance"]).expand(noisy.shape)
    agree(logs, recorded, 1e-4, f"{name}: log-variance")


@pytest.mark.parametrize("name", SAMPLERS)
@torch.no_grad()
def test_encoding(name: str) -> None:
    walks = Walks(name)
    diffusion = walks.diffusion("leading")
    ddim = Ddim(steps=10)
    walk = ddim.walk(diffusion.schedule)[::-1]
    noisy = to_clip(walks.recorded["ddim_reverse/x_in"])
    roles = torch.full(noisy.shape[:2], Role.TARGET, dtype=torch.int8)
    estimate = estimator(walks.network, diffusion, noisy, roles)
    up = ddim.encode(noisy, estimate, [walk[6], walk[5], walk[0]])
    agree(up, to_clip(walks.recorded["ddim_reverse/out_at_index4"]), 1e-4, f"{name}: encoding")
