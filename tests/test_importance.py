"""Loss-aware levels: drawn as often as they are hard, and weighted so that the mean stays."""

import pytest
import torch

from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.importance import REMEMBERED, UNIFORM_SHARE, LossHistory
from framefill.objective import MaskedLoss
from framefill.schedule import LogNormalSchedule, TableSchedule

LEVELS = 25


def warmed_up(losses: torch.Tensor) -> LossHistory:
    history = LossHistory.empty(LEVELS)
    levels = torch.arange(1, LEVELS + 1).float()
    for _ in range(REMEMBERED):
        history.note(levels, losses)
    return history


def test_levels_are_drawn_evenly_until_each_was_seen_often_enough() -> None:
    history = LossHistory.empty(LEVELS)
    history.note(torch.full((100,), 3.0), torch.full((100,), 9.0))
    assert history.probabilities.tolist() == [1 / LEVELS] * LEVELS
    _, weights = history.draw(50, torch.Generator().manual_seed(0))
    assert weights.allclose(torch.ones(50))


def test_hard_levels_are_drawn_in_proportion_to_their_root_mean_square() -> None:
    losses = torch.ones(LEVELS)
    losses[4] = 5.0
    chances = warmed_up(losses).probabilities
    assert chances.sum().item() == pytest.approx(1)
    expected = (1 - UNIFORM_SHARE) * 5 / (LEVELS + 4) + UNIFORM_SHARE / LEVELS
    assert chances[4].item() == pytest.approx(expected)


def test_only_the_last_losses_count() -> None:
    history = warmed_up(torch.full((LEVELS,), 100.0))
    levels = torch.arange(1, LEVELS + 1).float()
    for number in range(REMEMBERED):
        history.note(levels, torch.full((LEVELS,), float(number)))
    assert history.losses[7].tolist() == [float(number) for number in range(REMEMBERED)]


def test_weighted_losses_have_the_mean_of_even_draws() -> None:
    losses = torch.rand(LEVELS, generator=torch.Generator().manual_seed(1)) ** 3
    history = warmed_up(losses)
    levels, weights = history.draw(200_000, torch.Generator().manual_seed(2))
    mean = (losses[levels.long() - 1] * weights).mean().item()
    assert mean == pytest.approx(losses.mean().item(), rel=0.02)
    counts = torch.bincount(levels.long() - 1, minlength=LEVELS) / len(levels)
    assert counts.allclose(history.probabilities.float(), atol=0.005)


def test_a_history_comes_back() -> None:
    history = warmed_up(torch.rand(LEVELS))
    other = LossHistory.empty(LEVELS)
    other.load({name: value.clone() for name, value in history.state().items()})
    assert torch.equal(other.probabilities, history.probabilities)
    with pytest.raises(InputError, match="another shape"):
        LossHistory.empty(LEVELS + 1).load(history.state())


def test_only_tables_have_a_history() -> None:
    aware = MaskedLoss(levels="loss_aware")
    assert MaskedLoss().history(Diffusion()) is None
    history = aware.history(Diffusion(schedule=TableSchedule(levels=50)))
    assert history is not None
    assert len(history.counts) == 50
    with pytest.raises(InputError, match="need a table"):
        aware.check(Diffusion(schedule=LogNormalSchedule(), labels="log"))
