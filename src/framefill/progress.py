"""How a training run is getting on, for whoever watches."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from framefill.config import Config
from framefill.training import Report


class ProgressDisplay:
    """Loss, speed and time left: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, config: Config, start: int, spent: float, *, show: bool) -> None:
        self.steps, self.start, self.every = config.optim.steps, start, config.log.log_every
        self.console = Console(stderr=True, quiet=not show)
        self.started, self.spent = time.monotonic(), spent
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:.2f} steps/s"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not show or not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=self.steps, completed=start, loss=0.0, speed=0.0)

    def __enter__(self) -> "ProgressDisplay":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    @property
    def seconds(self) -> float:
        """Time that the run has taken, before it was resumed too."""
        return self.spent + time.monotonic() - self.started

    def show(self, report: Report) -> None:
        """Show a step."""
        speed = (report.step - self.start) / max(time.monotonic() - self.started, 1e-9)
        self.bar.update(self.task, completed=report.step, loss=report.loss, speed=speed)
        last = report.step == self.steps
        if not self.console.is_terminal and (report.step % (10 * self.every) == 0 or last):
            left = (self.steps - report.step) / speed
            self.console.print(
                f"step {report.step}/{self.steps}  loss {report.loss:.4f}  "
                f"{speed:.2f} steps/s  {left:.0f} s left",
                highlight=False,
            )
