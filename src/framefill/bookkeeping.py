"""What is written and shown between the steps of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framefill.config import Config
from framefill.divergence import number
from framefill.errors import InputError
from framefill.model import Model
from framefill.progress import ProgressDisplay
from framefill.run_folder import Run, append
from framefill.saving import thin_out
from framefill.telemetry import Telemetry, memory
from framefill.trackers.tracker import Trackers
from framefill.training import Report
from framefill.validation import FixedClips, Look, look

VIDEO_FPS = 5.0  # of sample videos: slow enough to see each frame


@dataclass(frozen=True)
class Bookkeeping:
    """The books of a run, which the first process keeps.

    Args:
        run: The run folder.
        config: The run's.
        telemetry: Adds up what steps report.
        display: For whoever watches.
        trackers: For whoever watches from elsewhere.
        fixed: Held-out clips to look at, if there are any.
        say: Takes messages for the user.
    """

    run: Run
    config: Config
    telemetry: Telemetry
    display: ProgressDisplay
    trackers: Trackers
    fixed: FixedClips | None
    say: Callable[[str], None]

    def step(self, report: Report) -> None:
        """Take in a step; write a line now and then.

        Raises:
            InputError: the line can't be written.
        """
        self.telemetry.add(report)
        self.display.show(report, memory(self.telemetry.device))
        last = report.step == self.config.optim.steps
        if report.step % self.config.log.log_every and not last:
            return
        line = self.telemetry.line(report)
        sayable = {name: number(v) if isinstance(v, float) else v for name, v in line.items()}
        append(self.run.metrics, sayable)
        self.trackers.numbers(report.step, _named(line))

    def bad(self, report: Report) -> None:
        """Note a step that moved nothing."""
        self.say(f"step {report.step} is skipped: {report.bad}")
        self.run.note(report.step, "skipped", report.bad)

    def look(self, model: Model, step: int) -> None:
        """Look at the held-out clips; what is wrong with them is no reason to stop a training."""
        if self.fixed is None:
            return
        steps = self.config.sampler.steps
        self.say(f"filling held-out clips for {self.run.samples} in {steps} steps")
        try:
            found = look(self.config, model, self.fixed, self.run.samples, step)
        except InputError as error:
            self.say(f"no pictures of held-out clips: {error}")
            return
        append(self.run.validation, {"step": step, "loss": found.loss, "rows": found.rows})
        self._track(found, step)
        thin_out(self.run, self.config)

    def _track(self, found: Look, step: int) -> None:
        scores = {
            f"held-out {task}/{score} of {who}": value
            for task, fillings in found.rows.items()
            for who, values in fillings.items()
            for score, value in values.items()
        }
        self.trackers.numbers(step, {"held-out/loss": found.loss, **scores})
        if found.sheet_pixels is not None:
            self.trackers.picture(step, "held-out clips", found.sheet_pixels)
        for task, frames in found.pixels.items():
            self.trackers.video(step, f"held-out {task}", frames, VIDEO_FPS)


def _named(line: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a line by the names under which trackers group them."""
    plain = {
        f"training/{name.replace('_', ' ')}": float(value)
        for name, value in line.items()
        if name not in ("step", "by_level", "by_task")
    }
    levels = {f"loss by level/{band}": value for band, value in line["by_level"].items()}
    tasks = {f"loss by task/{task}": value for task, value in line["by_task"].items()}
    return {**plain, **levels, **tasks}
