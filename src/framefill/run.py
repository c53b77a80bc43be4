"""Train a config into a run folder, or go on where it stopped."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from framefill.adaptation import adapted
from framefill.bookkeeping import Bookkeeping
from framefill.card import model_card
from framefill.checkpoint import Resumed, checkpoints, resume
from framefill.config import Config, read_config
from framefill.data.own import Dataset
from framefill.divergence import keep_batch, went_back
from framefill.errors import InputError
from framefill.intake import Intake, take_in
from framefill.model import Model, load_model
from framefill.progress import ProgressDisplay
from framefill.recipes import recipe
from framefill.run_folder import Run, RunState
from framefill.saving import save_averages, save_state, whole_network
from framefill.serialise import to_data
from framefill.snapshots import forget_after
from framefill.stopping import Signals, StoppedError, signals
from framefill.telemetry import Telemetry
from framefill.trackers.opening import open_trackers
from framefill.training import Report, TrainState, train_steps
from framefill.training.ranks import LostError, Ranks, is_loss, joined
from framefill.training.spread import is_divided
from framefill.validation import FixedClips

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
        state = TrainState.start(config, place, ranks, _first_weights(config, run, say))
        ranks.first_does(lambda: run.begin(config, held))
        resumed = resume(run.checkpoints, state)
        _tell(resumed, config, state, say)
        if state.step < config.optim.steps:
            training = _Training(run, intake, name, state, heard, say)
            training.go_on(held, progress=progress)
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
    return found[0] if found else plan.take_in(config, held_out=False)


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


class _Training:
    """This process's side of a run, from where it stands to its end.

    Args:
        run: The run folder.
        intake: The data, and the run's config.
        name: Of the recipe.
        state: Of the run.
        heard: What the process was asked by signals.
        say: Takes messages for the user.
    """

    def __init__(
        self, run: Run, intake: Intake, name: str, state: TrainState, heard: Signals, say: Say
    ) -> None:
        self.run, self.intake, self.config, self.name = run, intake, intake.config, name
        self.state, self.heard, self.say = state, heard, say
        self.books: Bookkeeping | None = None
        self.saved, self.due = state.step, False

    def go_on(self, held: ExitStack, *, progress: bool) -> None:
        """Take all the steps that are left.

        Raises:
            InputError, StoppedError, KeyboardInterrupt: as `train`.
        """
        self.state.ranks.first_does(lambda: self._open_books(held, progress))
        try:
            with self.heard.noted():
                while not self._all_steps():
                    pass
        except (StoppedError, KeyboardInterrupt) as stop:
            word = stop.word if isinstance(stop, StoppedError) else "SIGINT"
            self._stands("requeue" if isinstance(stop, StoppedError) else "interrupted", word)
            raise
        except InputError as error:
            diverged = self.state.guard.streak >= self.config.optim.patience
            self._stands("diverged" if diverged else "failed", str(error))
            told = f"{error}; the run is whole up to step {self.saved}"
            raise type(error)(told) from error
        except RuntimeError as error:
            if self.state.ranks.alone or not is_loss(error):
                raise
            self._stands("failed", "another process has gone")
            raise LostError(
                f"another process of this training has gone ({str(error).splitlines()[0]}); the "
                f"run is whole up to step {self.saved}: the same command goes on"
            ) from error
        self._stands("finished")

    def _open_books(self, held: ExitStack, progress: bool) -> None:
        state, config = self.state, self.config
        spent = self.run.forget_after(state.step)
        forget_after(self.run.snapshots, state.step)
        test = self.intake.test
        fixed = None if test is None else FixedClips.of(config, test)
        if fixed and fixed.note:
            self.say(fixed.note)
        device = next(state.network.parameters()).device
        self.books = Bookkeeping(
            self.run,
            config,
            Telemetry(config, device, spent),
            held.enter_context(ProgressDisplay(config, state.step, show=progress)),
            held.enter_context(
                open_trackers(
                    config.log.trackers,
                    self.run.folder,
                    run_name=self.run.folder.name,
                    settings=to_data(config),
                    step=state.step,
                    say=self.say,
                )
            ),
            fixed,
            self.say,
        )
        self.run.note(state.step, "resumed" if state.step else "started")
        self.run.stands("running", state.step)

    def _stands(self, word: RunState, why: str = "") -> None:
        """Write where the run stands, as far as that can be written still."""
        if self.state.ranks.first:
            with suppress(InputError, OSError):
                self.run.stands(word, self.saved, why)
                self.run.note(self.state.step, word, why)

    def _all_steps(self) -> bool:
        """Take steps to the end of the run, or until it goes back; say whether it is over."""
        for report in train_steps(self.config, self.state, self.intake.train, self.heard.asked):
            if report.bad and not self._bore(report):
                return False
            self._after(report)
            if report.asked:
                self._save()
                self._stop()
        return True

    def _stop(self) -> None:
        word = self.heard.word or "SIGTERM"  # another process was asked
        if word == "SIGINT":
            raise KeyboardInterrupt
        raise StoppedError(word)

    def _bore(self, report: Report) -> bool:
        """Bear a bad step, or go back to before it; say which."""
        if not self.state.guard.streak:  # float16's scale is being found
            return True
        try:
            keep_batch(self.run, self.state, report)
        except InputError as error:
            self.say(f"the batch of step {report.step} is not kept: {error}")
        if self.books is not None:
            self.books.bad(report)
        if self.state.guard.streak < self.config.optim.patience:
            return True
        said = went_back(self.run, self.state, self.config.optim, report.bad)
        self.say(said)
        self.state.ranks.first_does(lambda: self._rewritten(said))
        self._save()  # that it went back must not be forgotten
        return False

    def _rewritten(self, said: str) -> None:
        self.run.forget_after(self.state.step)
        forget_after(self.run.snapshots, self.state.step)
        self.run.note(self.state.step, "went back", said)

    def _after(self, report: Report) -> None:
        log, step, ranks = self.config.log, report.step, self.state.ranks
        last = step == self.config.optim.steps
        books = self.books
        if step % log.log_every == 0 or last:
            ranks.first_does(lambda: books.step(report) if books else None)
        elif books is not None:
            books.step(report)
        if log.snapshot_every and (step % log.snapshot_every == 0 or last):
            save_averages(self.run, self.state)
        look = bool(log.sample_every) and (step % log.sample_every == 0 or last)
        self.due |= step % log.save_every == 0 or (look and log.keep_best > 0)
        # What is saved amid bad steps would be no place to go back to.
        if last or (self.due and not self.state.guard.streak):
            self._save()
        if look:
            network = whole_network(self.config, self.state, self.state.average)
            ranks.first_does(lambda: self._look(network, step))

    def _look(self, network: nn.Module, step: int) -> None:
        if self.books is None:
            return
        card = model_card(self.config, self.name, self.state)
        with suppress(StoppedError), self.heard.heard():
            self.books.look(Model(network, self.config.model(), card), step)

    def _save(self) -> None:
        save_state(self.run, self.config, self.name, self.state)
        self.saved, self.due = self.state.step, False
