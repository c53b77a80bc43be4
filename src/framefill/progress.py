"""How a training run is getting on, for whoever watches."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from framefill.config import Config
from framefill.training import Report

SHOWN = "loss {task.fields[loss]:.4f}  gradient {task.fields[norm]:.3g}  {task.fields[rest]}"


class ProgressDisplay:
    """Loss, gradient, speed, memory and time left: a bar, or now and then a line."""

    def __init__(self, config: Config, start: int, *, show: bool) -> None:
        self.steps, self.start, self.every = config.optim.steps, start, config.log.log_every
        self.batch = config.optim.batch
        self.console = Console(stderr=True, quiet=not show)
        self.started = time.monotonic()
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(SHOWN),
            TimeRemainingColumn(),
            console=self.console,
            disable=not show or not self.console.is_terminal,
        )
        self.task = self.bar.add_task(
            "", total=self.steps, completed=start, loss=0.0, norm=0.0, rest=""
        )

    def __enter__(self) -> "ProgressDisplay":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, report: Report, memory: int) -> None:
        """Show a step, and the bytes of memory that are held."""
        if report.step <= self.start:  # the run went back
            self.start, self.started = report.step - 1, time.monotonic()
        taken = max(time.monotonic() - self.started, 1e-9)
        speed = (report.step - self.start) / taken
        rest = f"{speed * self.batch:.1f} clips/s  {memory / 2**30:.2f} GiB"
        self.bar.update(
            self.task, completed=report.step, loss=report.loss, norm=report.grad_norm, rest=rest
        )
        last = report.step == self.steps
        if not self.console.is_terminal and (report.step % (10 * self.every) == 0 or last):
            left = (self.steps - report.step) / speed if speed else 0.0
            self.console.print(
                f"step {report.step}/{self.steps}  loss {report.loss:.4f}  "
                f"gradient {report.grad_norm:.3g}  {rest}  {left:.0f} s left",
                highlight=False,
            )
