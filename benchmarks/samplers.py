"""MCVD's published walks against corrected ones: `python benchmarks/samplers.py`.

The data is normal with a known mean and standard deviation, for which the best prediction is known
in closed form. So what is left is the walk's own error: how far the mean and the standard deviation
of what it draws are from those of the data. 1.00 is a standard deviation that is right.
"""

import torch
from torch import Tensor

from framefill.completion import complete
from framefill.diffusion import Diffusion
from framefill.model_config import SamplerConfig
from framefill.pndm import Pndm
from framefill.roles import roles_from
from framefill.sampling import Ddim, Ddpm, DpmSolver2M
from framefill.schedule import TableSchedule

MEAN, STD = 0.3, 0.2
PIXELS, CLIPS = 64, 16
DIFFUSION = Diffusion(schedule=TableSchedule(), labels="countdown", limits=None, keep_noise=True)


def perfect_network(canvas: Tensor, labels: Tensor, roles: Tensor) -> Tensor:
    """Predict the noise as well as it can be, from noisy frames and the label alone."""
    alpha, sigma = (scale.float() for scale in DIFFUSION.schedule.scales(1000 - labels))
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    clean = MEAN + gain * (canvas - alpha * MEAN)
    return (canvas - alpha * clean) / sigma.clamp(min=1e-6)


def moments(sampler: SamplerConfig) -> tuple[float, float]:
    """Return the mean of what a walk draws, and its standard deviation relative to the data's."""
    clip = torch.zeros(CLIPS, 1, 1, PIXELS, PIXELS)
    generators = [torch.Generator().manual_seed(number) for number in range(CLIPS)]
    roles = roles_from("T").expand(CLIPS, -1)
    drawn = complete(perfect_network, DIFFUSION, clip, roles, sampler, generators)
    return drawn.mean().item(), drawn.std().item() / STD


def main() -> None:
    """Print a Markdown table."""
    print(f"data: mean {MEAN:.3f}, standard deviation 1.00\n")
    print("| walk | steps | as published: mean, deviation | corrected: mean, deviation |")
    print("|---|---|---|---|")
    for steps in (10, 20, 50, 100, 300, 1000):
        pairs: list[tuple[str, SamplerConfig | None, SamplerConfig]] = [
            (
                "DDPM",
                Ddpm(steps=steps, as_published=True, denoise=True),
                Ddpm(steps=steps),
            ),
            (
                "DDIM",
                Ddim(steps=steps, as_published=True, denoise=True),
                Ddim(steps=steps),
            ),
            (
                "F-PNDM",
                Pndm(steps=steps, as_published=True) if steps <= 500 else None,
                Pndm(steps=steps),
            ),
            ("DPM-Solver++(2M)", None, DpmSolver2M(steps=steps)),
        ]
        for name, published, corrected in pairs:
            cells = [
                "{:.3f}, {:.2f}".format(*moments(sampler)) if sampler else "-"
                for sampler in (published, corrected)
            ]
            print(f"| {name} | {steps} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
