"""The training loop.

All that is random about a clip, its roles, noise level and noise, is a function of the seed and of
its number among all clips, so the processes share a batch as one process would see it. Dropout
alone falls as the batch is divided.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch.utils.data import DataLoader

from framefill.batch import Batch, Batches
from framefill.conditions import hidden, in_model_range
from framefill.config import Clips, Config
from framefill.device import autocast
from framefill.errors import InputError
from framefill.gaps import without_gaps
from framefill.model_config import NO_CLASS
from framefill.nn.config import SpaceTimeConfig
from framefill.nn.denoisers import telling
from framefill.objective import LevelDraws
from framefill.randomness import generator_for, seed_of
from framefill.roles import Role, having
from framefill.told import Told
from framefill.training.ranks import Ranks
from framefill.training.report import ClipLosses, Report, task_numbers
from framefill.training.spread import without_sum
from framefill.training.state import Suspect, TrainState
from framefill.types import Clip, Roles

STREAM_STEP, STREAM_NOISE, STREAM_DROPOUT = 1, 2, 3  # what a key of randomness is for


def batches(
    config: Config, clips: Clips, start: int, end: int | None = None, ranks: Ranks = Ranks()
) -> Iterator[Batch]:
    """Yield this process's part of the batches.

    Args:
        config: The run's.
        clips: The training data.
        start: Number of the first batch.
        end: Number after the last one; None: that of the run's steps.
        ranks: The processes that share each batch.

    Raises:
        InputError: the data can't be read.
    """
    loader = DataLoader(
        Batches(clips, config.optim.batch, ranks.share(config.optim.batch)),
        sampler=range(start, config.optim.steps if end is None else end),
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _leave_signals_to_the_parent(_: int) -> None:
    """Clusters signal every process of a job: those that read would be gone before it is saved."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)


def train_steps(
    config: Config,
    state: TrainState,
    clips: Clips,
    asked: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Advance `state` to the end of the run, with a report after each step.

    The caller decides what happens between two steps: log, save, sample, stop. A state that was
    saved and loaded goes on exactly as it would have.

    Args:
        config: The run, measured on its data (`Config.measured`).
        state: Of the run.
        clips: The training data.
        asked: Whether this process was asked to stop; every process hears of it, in the report.

    Raises:
        InputError: the data can't be read, or holds what is no number; every process stops.
    """
    state.network.train()
    detour = state.guard.detour
    arriving = batches(config, clips, state.step + detour, config.optim.steps + detour, state.ranks)
    while state.step < config.optim.steps:
        share = _agreed(partial(_next_share, config, state, arriving), state.ranks)
        if share.clips == 0:
            report = state.passed_over(config.optim, clips=config.optim.batch)
        else:
            step = _Step(config, state, share)
            skipped = config.optim.batch - share.clips
            report = state.descend(step.parts(), config.optim, clips=share.clips, skipped=skipped)
            report = replace(report, clips=step.noted(good=not report.bad))
        yield replace(report, asked=state.ranks.total(asked()) > 0)


@dataclass(frozen=True, eq=False)
class _Share:
    """This process's part of a batch, as the network is to see it.

    Attributes:
        position: Number of the batch.
        batch: As the data gave it.
        clip: In model range, 0 where the data is missing.
        roles: What each frame is to the network.
        told: What it is told of the clips.
        draws: Of the noise levels.
        rows: Which clips have a target.
        clips: Number of clips that have one, in the whole batch.
    """

    position: int
    batch: Batch
    clip: Clip
    roles: Roles
    told: Told
    draws: LevelDraws
    rows: Bool[torch.Tensor, " b"]
    clips: int = 0


def _agreed(prepare: Callable[[], _Share], ranks: Ranks) -> _Share:
    """Return this process's part, or stop all processes if one of them has none."""
    share = ranks.all_do(prepare)
    return replace(share, clips=int(ranks.total(int(share.rows.sum()))))


def _next_share(config: Config, state: TrainState, arriving: Iterator[Batch]) -> _Share:
    batch = next(arriving)
    position, mine = state.step + state.guard.detour, state.ranks.share(config.optim.batch)
    generator = generator_for(config.seed, STREAM_STEP, position)
    roles = config.masks.sample(config.optim.batch, generator)
    draws = config.loss.draw_levels(
        config.diffusion, len(roles), roles.shape[1], generator, state.history
    )
    first = position * config.optim.batch + mine.start
    pixels = _in_range(config, batch, first)
    clip, roles, valid = without_gaps(pixels, roles[mine])
    conditions = {
        each.name: in_model_range(each, batch.conditions[each.name]) for each in config.conditions
    }
    _refuse_infinity(clip, conditions, first)
    conditions = hidden(conditions, config.conditions, config.optim.batch, mine, generator)
    told = Told(valid, _classes(config, batch, mine, generator), conditions)
    rows = torch.ones(len(clip), dtype=torch.bool)
    if valid is not None:
        rows = (valid & having(roles, Role.TARGET)).flatten(1).any(dim=1)
    return _Share(position, batch, clip, roles, told, draws.of(mine), rows)


def _in_range(config: Config, batch: Batch, first: int) -> Clip:
    """Return a batch's frames in model range; whose they are is said where they can't be."""
    frames, to_clip = batch.frames.numpy(), config.normaliser.to_clip
    try:
        return to_clip(frames)
    except InputError:
        for number, clip in enumerate(frames, start=first):
            try:
                to_clip(clip)
            except InputError as error:
                raise InputError(f"clip {number} of the training data: {error}") from error
        raise


def _refuse_infinity(
    clip: Clip, conditions: dict[str, Float[torch.Tensor, "..."]], first: int
) -> None:
    """Refuse what is no number before the network sees it; what is missing is known already."""
    for name, values in {"": clip, **conditions}.items():
        wrong = values.isinf() if name else ~values.isfinite()
        if wrong.any():
            number = first + int(wrong.flatten(1).any(dim=1).nonzero()[0])
            raise InputError(
                f"clip {number} of the training data holds infinity"
                + (f" in {name}" if name else "")
                + ", or numbers too large for float32: mark what is missing as NaN; framefill "
                "doctor finds the file"
            )


def _classes(
    config: Config, batch: Batch, mine: slice, generator: torch.Generator
) -> Int64[torch.Tensor, " b"] | None:
    """Return the classes of a batch, some of them hidden if the network is trained without too."""
    if batch.classes is None or not isinstance(config.network, SpaceTimeConfig):
        return batch.classes
    luck = torch.rand(config.optim.batch, generator=generator)[mine]
    return batch.classes.masked_fill(luck < config.network.class_dropout, NO_CLASS)


class _Step:
    """The forward passes of one step, on this process's part of the batch.

    Args:
        config: The run's.
        state: Of the run.
        share: This process's part.
    """

    def __init__(self, config: Config, state: TrainState, share: _Share) -> None:
        self.config, self.state, self.share = config, state, share
        self.network = state.network if state.called is None else state.called
        self.device = next(state.network.parameters()).device
        self.levels = share.draws.levels(share.roles)
        self.losses: list[Float[torch.Tensor, " _"]] = []

    def parts(self) -> Iterator[Float[torch.Tensor, " _"]]:
        """Yield the losses part by part, times their weights; 0 for clips without a target.

        The parts' size changes nothing but rounding (and dropout).
        """
        share, count = self.share, len(self.share.clip)
        size = self.config.optim.microbatch or count
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            rows = share.rows[part]
            with without_sum(self.network, last=part.stop == count):
                losses = self._of(part)
                self.losses.append(losses.detach().cpu())
                self.state.suspect = Suspect(
                    share.position, share.batch, share.roles, self.levels, torch.cat(self.losses)
                )
                yield losses * (share.draws.weights[part] * rows).to(self.device)

    def _of(self, part: slice) -> Float[torch.Tensor, " _"]:
        config, share = self.config, self.share
        first = self.state.ranks.rank * len(share.clip) + part.start
        clip, roles = share.clip[part].to(self.device), share.roles[part].to(self.device)
        told = share.told.of(part).to(self.device)
        noise = torch.stack(
            [
                torch.randn(
                    clip.shape[1:],
                    generator=generator_for(config.seed, STREAM_NOISE, share.position, number),
                )
                for number in range(first, first + len(clip))
            ]
        )
        torch.manual_seed(seed_of(config.seed, STREAM_DROPOUT, share.position, first))
        with autocast(self.device, config.precision):
            return config.loss.at(
                telling(self.network, told),
                config.diffusion,
                clip,
                roles,
                self.levels[part].to(self.device),
                noise.to(self.device),
                told.valid,
            )

    def noted(self, *, good: bool) -> ClipLosses:
        """Return the losses of all processes' clips that have a target.

        Args:
            good: They are remembered, where levels are drawn by them.
        """
        share, state = self.share, self.state
        targets = self.levels.where(share.roles == Role.TARGET, 0.0).amax(dim=1)
        columns = [torch.cat(self.losses), targets, task_numbers(share.roles), share.rows]
        table = state.ranks.gathered(torch.stack([each.double() for each in columns], dim=1))
        table = table[table[:, 3] > 0, :3]
        if good and state.history is not None:
            state.history.note(table[:, 1].float(), table[:, 0].float())
        return ClipLosses.of(table)
