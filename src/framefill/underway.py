"""A run under way: its steps, and what happens between them."""

from collections.abc import Callable
from contextlib import ExitStack, suppress

import torch
from torch import nn

from framefill.bookkeeping import Bookkeeping
from framefill.card import model_card
from framefill.divergence import keep_batch, went_back
from framefill.errors import InputError
from framefill.intake import Intake
from framefill.model import Model
from framefill.progress import ProgressDisplay
from framefill.run_folder import Run, RunState
from framefill.saving import save_averages, save_state, whole_network
from framefill.serialise import to_data
from framefill.snapshots import forget_after
from framefill.stopping import Signals, StoppedError
from framefill.telemetry import Telemetry
from framefill.trackers.opening import open_trackers
from framefill.training import Report, TrainState, train_steps
from framefill.training.ranks import is_loss
from framefill.validation import FixedClips

Say = Callable[[str], None]


class Underway:
    """One process's side of a run, from where it stands to its end.

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

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return next(self.state.network.parameters()).device

    def go_on(self, held: ExitStack, *, progress: bool) -> None:
        """Take all the steps that are left.

        Raises:
            InputError, StoppedError, KeyboardInterrupt: as `train`.
        """
        self.state.ranks.first_does(lambda: self._open_books(held, progress))
        try:
            with self.heard.noted():
                if self.state.step >= self.config.optim.steps:
                    self._save()  # it was killed between its last checkpoint and the model of it
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
        except torch.OutOfMemoryError as error:
            self._stands("failed", "out of memory")
            raise InputError(self._too_large()) from error
        except RuntimeError as error:
            if is_loss(error):
                self._stands("failed", "another process has gone")
            raise
        self._stands("finished")

    def _open_books(self, held: ExitStack, progress: bool) -> None:
        state, config = self.state, self.config
        spent = self.run.forget_after(state.step)
        forget_after(self.run.snapshots, state.step)
        test = self.intake.test
        fixed = None if test is None else FixedClips.of(config, test)
        if fixed and fixed.note:
            self.say(fixed.note)
        self.books = Bookkeeping(
            self.run,
            config,
            Telemetry(config, self.device, spent),
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

    def _too_large(self) -> str:
        optim, count = self.config.optim, self.state.ranks.count
        held = optim.microbatch or optim.batch // count
        smaller = f"--optim.microbatch {held // 2}" if held > 1 else "--shard on several GPUs"
        return (
            f"the memory of {self.device} doesn't suffice for "
            f"{held} clips at once: pass {smaller}"
            + ("" if self.config.recompute else " or --recompute")
            + f"; framefill plan tries what fits; the run is whole up to step {self.saved}"
        )

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
        raise StoppedError(word, saved=True)

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
        card, device = model_card(self.config, self.name, self.state), self.device
        with suppress(StoppedError), self.heard.heard():
            try:
                self.books.look(Model(network.to(device), self.config.model(), card), step)
            except torch.OutOfMemoryError:  # which is no reason to stop a training
                self.say(f"no pictures of held-out clips: they don't fit into {device}")

    def _save(self) -> None:
        save_state(self.run, self.config, self.name, self.state)
        self.saved, self.due = self.state.step, False
