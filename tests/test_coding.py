"""Bits per dimension: of an oracle, of given frames, and from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from framefill.cli import main
from framefill.coding import code
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import RandomMasks
from framefill.metrics.bits import Bits, bin_width, bits_per_dimension
from framefill.model import Model
from framefill.nn.config import VolumeConfig
from framefill.normalise import Normaliser
from framefill.roles import roles_from
from framefill.run import train
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule
from framefill.settings import Settings

DIFFUSION = Diffusion(schedule=TableSchedule(spacing="linspace"), predicts="clean")


def config(**changes: object) -> Config:
    settings = {
        "data": DigitsConfig(size=16, glyph=8, speed=1, digits=1),
        "masks": RandomMasks(frames=4, max_known=2),
        "network": VolumeConfig(width=32, multipliers=(1, 1), blocks=1, attention=()),
        "diffusion": replace(DIFFUSION, predicts="noise"),
        "sampler": Ddpm(steps=6, variance="large"),
        "optim": OptimConfig(steps=2, batch=2),
        "log": LogConfig(sample_every=0),
    }
    return Config(**{**settings, **changes})


def clips() -> Tensor:
    """Return clips of 8-bit values in model range."""
    pixels = torch.randint(0, 256, (2, 4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return pixels / 127.5 - 1


def bits_of(answer: Tensor, row: str, clip: Tensor | None = None, steps: int = 20) -> Bits:
    """Return the bits of a network that always gives one answer."""
    clip = clips() if clip is None else clip
    generator = torch.Generator().manual_seed(1)
    return bits_per_dimension(
        lambda canvas, labels, roles: answer,
        DIFFUSION,
        clip,
        roles_from(row).expand(len(clip), -1),
        sampler=Ddpm(steps=steps),
        width=2 / 255,
        fresh=lambda: torch.randn(clip.shape, generator=generator),
    )


def test_whoever_knows_the_truth_pays_for_the_last_step_alone() -> None:
    bits = bits_of(clips(), "TTTT")
    assert bits.steps[:, :-1].abs().max() < 1e-5
    assert bits.clean_mse.max() == 0
    assert (bits.total - bits.prior - bits.steps[:, -1]).abs().max() < 1e-4
    assert (bits.total < 5).all()  # far below the 8 of coding the bytes as they are


def test_errors_cost_bits() -> None:
    assert (bits_of(clips() * 0.9, "TTTT").total > bits_of(clips(), "TTTT").total).all()


def test_the_bits_are_of_targets_alone() -> None:
    answer = clips()
    answer[:, 0] = 17.0
    assert torch.equal(bits_of(answer, "KTTT").total, bits_of(clips(), "KTTT").total)


def test_a_bound_needs_two_steps() -> None:
    with pytest.raises(InputError, match="at least 2 steps"):
        bits_of(clips(), "TTTT", steps=1)


@pytest.mark.parametrize(
    ("normaliser", "width"),
    [
        (Normaliser(), 2 / 255),
        (Normaliser(dtype="uint16", offset=(2047.5,), scale=(2047.5,), high=4095), 2 / 4095),
    ],
)
def test_the_bins_are_those_of_the_data(normaliser: Normaliser, width: float) -> None:
    assert bin_width(normaliser) == pytest.approx(width)


@pytest.mark.parametrize(
    "normaliser",
    [
        Normaliser(dtype="float32", high=255),
        Normaliser(scale=(255.0,)),
    ],
)
def test_data_without_bins_are_refused(normaliser: Normaliser) -> None:
    with pytest.raises(InputError, match="bits per dimension need"):
        bin_width(normaliser)


def test_long_rows_are_coded_window_by_window() -> None:
    settings = config()
    model = Model(settings.model().build().eval(), settings.model())
    short = code(model, settings.data, "KTTT", clips=3, settings=Settings(batch=2))
    long = code(model, settings.data, "KTTTTT", clips=3, settings=Settings(advance=None))
    assert short.bits.mean is not None
    assert long.bits.mean is not None
    assert len(short.steps) == 6
    assert sum(short.steps) + (short.prior.mean or 0) == pytest.approx(short.bits.mean, rel=1e-5)


def test_the_batch_size_does_not_matter() -> None:
    settings = config()
    torch.manual_seed(0)
    model = Model(settings.model().build().eval(), settings.model())
    one, other = (
        code(model, settings.data, "KTTT", clips=3, settings=Settings(batch=size))
        for size in (1, 3)
    )
    assert one.bits.mean == pytest.approx(other.bits.mean, rel=1e-5)


def test_other_samplers_are_refused() -> None:
    settings = config()
    model = Model(settings.model().build().eval(), settings.model())
    for sampler in (Ddim(steps=5), Ddpm(steps=5, repeats=2)):
        with pytest.raises(InputError, match="a bound of plain ddpm"):
            code(model, settings.data, "KTTT", clips=1, settings=Settings(sampler=sampler))


def test_the_command_writes_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "bits"
    train(config(), out=run, progress=False)
    command = ["evaluate", str(run), "--metric", "bpd", "--clips", "2", "--out", str(out)]
    assert main([*command, "--roles", "TTTT", "KTTT"]) == 0
    written = json.loads((out / "bits.json").read_text())
    assert [row["row"] for row in written["rows"]] == ["TTTT", "KTTT"]
    assert all(np.isfinite(row["bits"]["mean"]) for row in written["rows"])
    assert "bits per value" in capsys.readouterr().out
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err
