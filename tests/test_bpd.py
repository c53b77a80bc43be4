"""Bits per dimension: of an oracle, of given frames, and from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from framefill.bpd import evaluate_bpd, whole_rows
from framefill.cli import main
from framefill.config import Config, LogConfig, OptimConfig
from framefill.data.digits import DigitsConfig
from framefill.diffusion import Diffusion, Estimate
from framefill.errors import InputError
from framefill.evaluation.examples import example_rows
from framefill.masks import RandomMasks
from framefill.metrics.bits import Bits, bits_per_dimension
from framefill.model import Model
from framefill.nn.config import VolumeConfig
from framefill.normalise import Normaliser
from framefill.planning import plan
from framefill.posterior import Posterior
from framefill.recipes import recipe
from framefill.roles import roles_from
from framefill.run import train
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import LogNormalSchedule, TableSchedule
from framefill.settings import Settings
from framefill.variational import step_bits

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
    assert normaliser.bin_width == pytest.approx(width)


@pytest.mark.parametrize(
    "normaliser",
    [
        Normaliser(dtype="float32", high=255),
        Normaliser(scale=(255.0,)),
    ],
)
def test_data_without_bins_are_refused(normaliser: Normaliser) -> None:
    with pytest.raises(InputError, match="bits per dimension need"):
        _ = normaliser.bin_width


def test_long_rows_are_coded_window_by_window() -> None:
    settings = config()
    model = Model(settings.model().build().eval(), settings.model())
    short = evaluate_bpd(model, settings.data, "KTTT", clips=3, settings=Settings(batch=2))
    long = evaluate_bpd(model, settings.data, "KTTTTT", clips=3, settings=Settings(advance=None))
    assert short.bits.mean is not None
    assert long.bits.mean is not None
    assert len(short.steps) == 6
    assert sum(short.steps) + (short.prior.mean or 0) == pytest.approx(short.bits.mean, rel=1e-5)


def test_the_batch_size_does_not_matter() -> None:
    settings = config()
    torch.manual_seed(0)
    model = Model(settings.model().build().eval(), settings.model())
    one, other = (
        evaluate_bpd(model, settings.data, "KTTT", clips=3, settings=Settings(batch=size))
        for size in (1, 3)
    )
    assert one.bits.mean == pytest.approx(other.bits.mean, rel=1e-5)


def test_other_samplers_are_refused() -> None:
    settings = config()
    model = Model(settings.model().build().eval(), settings.model())
    for sampler in (Ddim(steps=5), Ddpm(steps=5, repeats=2)):
        with pytest.raises(InputError, match="a bound of plain ddpm"):
            evaluate_bpd(model, settings.data, "KTTT", clips=1, settings=Settings(sampler=sampler))


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


@pytest.mark.parametrize("bins", [255, 65_535])
def test_the_shares_of_all_values_add_up_to_one(bins: int) -> None:
    """Else the bound would be none."""
    values = torch.linspace(-1, 1, bins + 1, dtype=torch.float64).view(1, 1, 1, 1, -1)
    one = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
    step = Posterior(one, 0 * one, one, 0 * one, one)
    for mean, variance in ((0.9995, 1e-7), (-0.3, 1e-3), (1.0, 1e-2)):
        parts = Estimate(torch.full_like(values, mean), torch.zeros_like(values))
        bits = step_bits(
            step, variance, parts, values, values, variance="small", bin_width=2 / bins
        )
        assert (2**-bits).sum().item() == pytest.approx(1, abs=1e-4)


def test_noise_levels_without_an_end_in_pure_noise_are_refused() -> None:
    edm = Diffusion(schedule=LogNormalSchedule(), predicts="edm", labels="log")
    with pytest.raises(InputError, match="those of a table"):
        bits_per_dimension(
            lambda canvas, labels, roles: canvas,
            edm,
            clips(),
            roles_from("TTTT").expand(2, -1),
            sampler=Ddpm(steps=5),
            width=2 / 255,
            fresh=lambda: torch.zeros_like(clips()),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "0"], "clips 0 must be in 1.."),
        (["--sampler", "ddim"], "a bound of plain ddpm"),
        (["--ssim", "channels"], "are for --metric all"),
        (["--label", "x"], "trained without classes"),
        (["--steps", "1"], "at least 2 steps"),
    ],
)
def test_what_bits_can_not_be_had_with_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    run, out = tmp_path / "run", tmp_path / "bits"
    train(config(), out=run, progress=False)
    command = ["evaluate", str(run), "--metric", "bpd", "--out", str(out), *options]
    assert main(command if "--clips" in options else [*command, "--clips", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["bair-ramvid", "ucf101-ramvid-0", "kth-concat", "digits"])
def test_the_rows_that_are_coded_unless_told_otherwise_are_whole_windows(name: str) -> None:
    masks = recipe(name).masks
    rows = whole_rows(masks, tuple(example_rows(masks).values()))
    assert rows
    for row in rows:
        assert len(row) <= masks.frames
        for window in plan(row, masks):
            assert len(window.fills) == window.row.count("T")
