import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.objective import MaskedLoss
from framefill.roles import roles_from
from framefill.sampling import Ddpm
from framefill.schedule import LogNormalSchedule, TableSchedule

PREDICTIONS = ["noise", "clean", "velocity", "edm"]
SCHEDULES = [TableSchedule(), TableSchedule(kind="cosine"), LogNormalSchedule()]


def clips(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(schedule, predicts: str, **changes) -> Diffusion:
    labels = "step" if isinstance(schedule, TableSchedule) else "log"
    return Diffusion(schedule=schedule, predicts=predicts, labels=labels, limits=None, **changes)


@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_perfect_network_gives_back_clean_frames_and_noise(schedule, predicts: str) -> None:
    diffusion = make(schedule, predicts)
    clean, noise = clips(4, 2, 1, 3, 3), clips(4, 2, 1, 3, 3, seed=1)
    levels = torch.tensor([[1.0], [10.0], [300.0], [900.0]]).expand(-1, 2)
    if isinstance(schedule, LogNormalSchedule):
        levels = levels / 100
    noisy = diffusion.noisy(clean, noise, levels)
    target = diffusion.target(clean, noise, levels)
    estimate = diffusion.estimate(target, noisy, levels)
    torch.testing.assert_close(estimate.clean, clean, rtol=1e-3, atol=2e-3)
    alpha, sigma = schedule.scales(levels)
    again = alpha.float() * estimate.clean + sigma.float() * estimate.noise
    torch.testing.assert_close(again, noisy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES[:2], ids=str)
def test_tables_preserve_variance_and_only_lose_signal(schedule: TableSchedule) -> None:
    levels = torch.arange(schedule.levels + 1.0)[None]
    alpha, sigma = schedule.scales(levels)
    assert alpha[0, 0].item() == 1
    assert sigma[0, 0].item() == 0
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
    assert (alpha.diff(dim=1) < 0).all()


@given(
    steps=st.integers(1, 1000),
    spacing=st.sampled_from(["trailing", "linspace"]),
)
def test_a_walk_has_the_steps_asked_for_and_ends_clean(steps: int, spacing: str) -> None:
    walk = TableSchedule(spacing=spacing).descent(steps)
    assert len(walk) == steps + 1
    assert walk[-1] == 0
    assert all(high > low for high, low in pairwise(walk))
    if spacing == "trailing" or steps > 1:
        assert walk[0] == 1000


@settings(max_examples=30)
@given(steps=st.integers(1, 60))
def test_a_log_normal_walk_goes_from_highest_to_lowest_to_clean(steps: int) -> None:
    schedule = LogNormalSchedule()
    walk = schedule.descent(steps)
    assert len(walk) == steps + 1
    assert walk[0] == pytest.approx(schedule.highest)
    assert walk[-1] == 0
    if steps > 1:
        assert walk[-2] == pytest.approx(schedule.lowest)


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (TableSchedule(), 0),
        (TableSchedule(), 1001),
        (TableSchedule(), (10, 10)),
        (TableSchedule(spacing="linspace"), (999, 10)),
        (TableSchedule(spacing="leading"), 600),
        (LogNormalSchedule(), (5, 5)),
        (LogNormalSchedule(), 0),
    ],
)
def test_impossible_walks_are_refused(schedule, steps) -> None:
    with pytest.raises(InputError, match=r"step|stride"):
        schedule.descent(steps)


def test_training_levels_have_the_distribution_that_the_schedule_says() -> None:
    generator = torch.Generator().manual_seed(0)
    table = TableSchedule(levels=30).draw(50_000, generator)
    assert set(table.tolist()) == set(range(1, 31))
    assert table.mean().item() == pytest.approx(15.5, abs=0.15)
    logs = LogNormalSchedule(mean=-0.4, std=1.4).draw(50_000, generator).log()
    assert logs.mean().item() == pytest.approx(-0.4, abs=0.03)
    assert logs.std().item() == pytest.approx(1.4, abs=0.03)


def test_labels_count_as_each_paper_does() -> None:
    levels = torch.tensor([[1.0, 250.0, 1000.0]])
    assert Diffusion(labels="countdown").told(levels).tolist() == [[999, 750, 0]]
    assert Diffusion(labels="step").told(levels).tolist() == [[0, 249, 999]]
    half = Diffusion(schedule=TableSchedule(levels=500), labels="step")
    assert half.told(torch.tensor([[500.0]])).item() == 998
    edm = make(LogNormalSchedule(), "edm")
    assert edm.told(torch.tensor([[math.e]])).item() == pytest.approx(250)
    assert edm.told(torch.tensor([[0.0]])).isfinite().all()


def test_edm_input_and_target_have_unit_variance() -> None:
    diffusion = replace(make(LogNormalSchedule(), "edm"), data_std=0.5)
    clean, noise = 0.5 * clips(1, 1, 1, 200, 200), clips(1, 1, 1, 200, 200, seed=1)
    for level in (0.01, 0.3, 5.0, 60.0):
        levels = torch.tensor([[level]])
        noisy = diffusion.noisy(clean, noise, levels)
        canvas = diffusion.canvas(noisy, noisy, roles_from("T"), levels)
        assert canvas.std().item() == pytest.approx(1, abs=0.02)
        assert diffusion.target(clean, noise, levels).std().item() == pytest.approx(1, abs=0.02)


def test_clipped_estimates_still_explain_the_noisy_frames() -> None:
    noisy, prediction = 3 * clips(1, 1, 1, 4, 4), clips(1, 1, 1, 4, 4, seed=1)
    levels = torch.tensor([[500.0]])
    derived = Diffusion().estimate(prediction, noisy, levels)
    alpha, sigma = (part.float() for part in Diffusion().schedule.scales(levels))
    assert derived.clean.abs().max() <= 1
    torch.testing.assert_close(alpha * derived.clean + sigma * derived.noise, noisy)
    kept = Diffusion(keep_noise=True).estimate(prediction, noisy, levels)
    torch.testing.assert_close(kept.noise, prediction, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.clean, derived.clean)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TableSchedule(kind="cosin"),
        lambda: TableSchedule(spacing="even"),
        lambda: Diffusion(predicts="future"),
        lambda: Ddpm(variance="lage"),
        lambda: MaskedLoss(norm="cubed"),
    ],
)
def test_a_misspelt_word_is_refused(make) -> None:
    with pytest.raises((InputError, TypeError)):  # the type checks of the tests may come first
        make()


def test_small_levels_of_a_table_are_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = TableSchedule().draw_up_to(3, clips=100, frames=4, generator=generator)
    assert set(drawn.unique().tolist()) == {0, 1, 2, 3}
    for level in (0.05, 2000):
        with pytest.raises(InputError, match="noise level"):
            TableSchedule().draw_up_to(level, clips=1, frames=1, generator=generator)


def test_contradictory_settings_are_refused() -> None:
    with pytest.raises(InputError, match="use 'log'"):
        Diffusion(schedule=LogNormalSchedule(), labels="countdown")
    with pytest.raises(InputError, match="data_std"):
        Diffusion(data_std=0)


class TestLoss:
    """The loss is on TARGET frames and valid pixels alone."""

    diffusion = Diffusion()
    clip = clips(2, 4, 1, 4, 4)
    roles = roles_from("KT-T", "TTKK")

    @staticmethod
    def zero(canvas, labels, roles):
        return torch.zeros_like(canvas)

    def loss(self, objective=MaskedLoss(), **changes):  # noqa: B008
        arguments = {"clip": self.clip, "roles": self.roles, "valid": None, **changes}
        return objective(
            self.zero,
            self.diffusion,
            arguments["clip"],
            arguments["roles"],
            torch.Generator().manual_seed(0),
            arguments["valid"],
        )

    def test_hidden_and_known_frames_have_none(self) -> None:
        noise = clips(2, 4, 1, 4, 4)  # what the generator draws is not what counts here
        levels = torch.tensor([[0.0, 7, 0, 7], [9, 9, 0, 0]])
        losses = MaskedLoss().at(self.zero, self.diffusion, self.clip, self.roles, levels, noise)
        target = torch.stack([noise[0, [1, 3]], noise[1, [0, 1]]])
        torch.testing.assert_close(losses, target.square().flatten(1).mean(1))

    def test_half_sum_is_half_the_sum(self) -> None:
        mean, total = self.loss(), self.loss(MaskedLoss(reduction="half_sum"))
        torch.testing.assert_close(total, mean * (2 * 16) / 2)

    def test_gaps_carry_none_even_as_nan(self) -> None:
        valid = torch.ones(2, 4, 1, 4, 4, dtype=torch.bool)
        valid[:, :, :, :2] = False
        losses = [
            self.loss(clip=torch.where(valid, self.clip, spoiled), valid=valid)
            for spoiled in (0.0, 7.0, float("nan"))
        ]
        assert torch.equal(losses[0], losses[1])
        assert torch.equal(losses[0], losses[2])
        assert not torch.equal(losses[0], self.loss())

    def test_a_clip_without_valid_target_has_loss_zero_not_nan(self) -> None:
        losses = self.loss(valid=torch.zeros(2, 4, 1, 4, 4, dtype=torch.bool))
        assert losses.tolist() == [0, 0]

    def test_known_frames_are_clean_unless_asked(self) -> None:
        seen = []

        def look(canvas, labels, roles):
            seen.append((canvas, labels))
            return torch.zeros_like(canvas)

        for level in (0.0, 50.0):
            MaskedLoss(known_level=level)(
                look, self.diffusion, self.clip, self.roles, torch.Generator().manual_seed(0)
            )
        (clean, _), (noised, labels) = seen
        assert torch.equal(clean[0, 0], self.clip[0, 0])
        assert torch.equal(clean[1, 2:], self.clip[1, 2:])
        assert clean[0, 2].abs().max() == 0
        assert not torch.equal(noised[0, 0], self.clip[0, 0])
        assert labels[0, 0] <= 49
