"""Train a config into a run folder, or go on where it stopped."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from framefill.adaptation import adapted
from framefill.card import model_card
from framefill.checkpoint import Resumed, checkpoints, resume
from framefill.config import Config, read_config
from framefill.data.own import Dataset
from framefill.intake import Intake, take_in
from framefill.model import Model, load_model
from framefill.recipes import recipe
from framefill.run_folder import Run
from framefill.stopping import signals
from framefill.training import TrainState
from framefill.training.ranks import Ranks, joined
from framefill.training.spread import is_divided
from framefill.underway import Underway

Say = Callable[[str], None]


def train(
    config: Config | str,
    *,
    out: Path | str,
    data: Path | str | Dataset | None = None,
    test: Dataset | None = None,
    name: str = "",
    device: str = "auto",
    progress: bool = True,
    say: Say = lambda line: None,
) -> Model:
    """Train a config into a run folder; the same call again goes on where it stopped.

    Started by torchrun, or a cluster's launcher that says the same, all processes train together;
    the first one writes.

    Args:
        config: What to train, or the name of a recipe.
        out: The run folder. Nothing in it is ever deleted but old checkpoints.
        data: Where the training data is, or a dataset of the user's own
            (`framefill.data.own.Dataset`); None: where the config says.
        test: Held-out clips, where `data` is a dataset; None: no pictures of them.
        name: Of the recipe, for the model card.
        device: "auto", "cpu", "cuda" or "mps"; each process takes its own GPU.
        progress: Show a progress bar, or a line now and then where there is no terminal.
        say: Takes messages for the user.

    Returns:
        The averaged model.

    Raises:
        InputError: the folder holds something else, a run of another config, or one that another
            process is training; the data are faulty; the disk is full; or training diverged.
        StoppedError: SIGTERM or SIGUSR1 came; the run was saved after its last whole step.
        LostError: another process of the training has gone.
        KeyboardInterrupt: the user interrupted; the run was saved, too.
    """
    if isinstance(config, str):
        name = name or config
        config = recipe(config)
    with signals() as heard, joined(device) as (ranks, place), ExitStack() as held:
        if not ranks.first:
            progress, say = False, _silent
        run, plan = Run(Path(out)), _Plan(config, data, test, progress, say)
        # Everything that can be wrong with the settings shows before the folder is touched.
        ranks.share(config.optim.batch)
        intake = _taken_in(plan, run, ranks)
        config = intake.config
        weights = ranks.all_do(lambda: _first_weights(config, run, say))
        state = TrainState.start(config, place, ranks, weights)
        with heard.noted():  # an interrupt must not make a checkpoint look damaged
            ranks.first_does(lambda: run.begin(config, held))
            resumed = resume(run.checkpoints, state)
        heard.check()
        _tell(resumed, config, state, say)
        if state.step < config.optim.steps or not ranks.first_does(
            lambda: run.is_finished(state.step)
        ):
            Underway(run, intake, name, state, heard, say).go_on(held, progress=progress)
        return _result(run, config, name, state)


@dataclass(frozen=True)
class _Plan:
    """What `train` was asked for."""

    config: Config
    data: Path | str | Dataset | None
    test: Dataset | None
    progress: bool
    say: Say

    def take_in(self, known: Config | None, *, held_out: bool) -> Intake:
        return take_in(
            self.config,
            self.data,
            self.test,
            known=known,
            held_out=held_out and self.config.log.sample_every > 0,
            progress=self.progress,
            say=self.say,
        )


def _taken_in(plan: _Plan, run: Run, ranks: Ranks) -> Intake:
    """Take in the data; the first process measures it for all, and looks at the folder."""
    found: list[Intake] = []

    def measured() -> Config:
        known = read_config(run.config) if run.config.is_file() else None
        found.append(plan.take_in(known, held_out=True))
        run.check(found[0].config)
        return found[0].config

    config = ranks.first_does(measured)
    return ranks.all_do(lambda: found[0] if found else plan.take_in(config, held_out=False))


def _first_weights(config: Config, run: Run, say: Say) -> dict[str, torch.Tensor] | None:
    """Return the weights of the model that a run starts from, should it have just begun."""
    if config.start is None or checkpoints(run.checkpoints):
        return None
    found = adapted(load_model(config.start), config.model())
    for change in found.changes:
        say(change)
    return found.weights


def _tell(resumed: Resumed, config: Config, state: TrainState, say: Say) -> None:
    for line in resumed.passed:
        say(f"passed over: {line}")
    if state.step >= config.optim.steps:
        say(f"at step {state.step} of {config.optim.steps} already: to go on, raise --optim.steps")
    elif state.step:
        say(f"going on at step {state.step} of {config.optim.steps}")
    if resumed.ranks not in (0, state.ranks.count):
        say(
            f"processes: {resumed.ranks} before, {state.ranks.count} now: the same clips, masks, "
            "levels and noise follow, but sums are rounded in another order and dropout falls "
            "elsewhere, so the steps are not the same bit for bit"
        )


def _silent(line: str) -> None:
    """Say nothing: the first process speaks for all."""


def _result(run: Run, config: Config, name: str, state: TrainState) -> Model:
    if is_divided(state.average):
        state.ranks.first_does(lambda: None)  # until it is written
        return load_model(run.model)
    return Model(state.average, config.model(), model_card(config, name, state))
