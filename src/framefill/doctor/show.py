"""What the doctor found, on the screen."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framefill.data.examine import Facts
from framefill.doctor.advice import flag_words, needs_hands
from framefill.doctor.report import COLORS, MEANINGS, Finding, Overfit, Report, Speed
from framefill.doctor.wording import rate_in_words


def print_report(report: Report, out: Path, console: Console) -> None:
    """Print what was found, the commands last."""
    console.print(_overview(report.facts))
    if report.facts.channels:
        console.print(_value_table(report.facts))
    if report.findings:
        _print_findings(report.findings, console)
    if report.speed is not None:
        console.print(_speed_line(report.speed), soft_wrap=True, highlight=False)
    if report.overfit is not None:
        _print_overfit(report.overfit, console)
    files = f"{out / 'report.json'}" + (
        f"; what the network sees: {out / 'sheet.png'}" if report.speed else ""
    )
    console.print(f"all facts: {files}", soft_wrap=True, highlight=False)
    first = "mend what stops training, then:" if needs_hands(report.findings) else "to train:"
    console.print(first, style="bold")
    for line in report.commands:
        console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def _overview(facts: Facts) -> Table:
    table = Table("what", "is there", title=facts.path, title_justify="left")
    videos = facts.videos
    count = ", ".join(f"{len(facts.of(part))} to {part}" for part in ("train", "test"))
    table.add_row("videos", f"{count}{f' ({facts.note})' if facts.note else ''}")
    if facts.benchmark:
        table.add_row("data set", facts.benchmark)
    table.add_row("formats", _counted(each.suffix for each in videos))
    if lengths := sorted(each.length for each in videos):
        middle = lengths[len(lengths) // 2]
        table.add_row(
            "frames", f"{sum(lengths):,}; per video {lengths[0]} / {middle} / {lengths[-1]}"
        )
    table.add_row("size", _counted("x".join(map(str, each.shape)) for each in videos))
    table.add_row("dtype", _counted(each.dtype for each in videos))
    table.add_row(
        "rate", _counted("unknown" if e.fps is None else rate_in_words(e.fps) for e in videos)
    )
    if holes := sum(each.holes for each in videos):
        table.add_row("holes in time", f"{holes:,} frames")
    for part, classes in facts.classes.items():
        if classes:
            table.add_row(
                f"classes to {part}",
                ", ".join(f"{name} ({count})" for name, count in islice(classes.items(), 12)),
            )
    looked = [each for each in videos if each.looked]
    frames = sum(each.looked for each in looked)
    table.add_row(
        "looked at",
        f"{frames:,} of {sum(e.length for e in videos):,} frames, of {len(looked)} of "
        f"{len(videos)} videos; values of {facts.measured:,} frames",
    )
    return table


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:6])
    return shown if len(counts) <= 6 else f"{shown} and {len(counts) - 6} more"


def _value_table(facts: Facts) -> Table:
    unit = f" [{facts.units}]" if facts.units else ""
    table = Table(title=f"values{unit}", title_justify="left")
    table.add_column("channel")
    for name in ("low", "high", "mean", "deviation", "missing", "infinite"):
        table.add_column(name, justify="right")
    for each in [*facts.channels, *facts.conditions][:40]:
        numbers = (each.low, each.high, each.mean, each.deviation)
        cells = ["" if number is None else f"{number:.5g}" for number in numbers]
        table.add_row(each.name, *cells, f"{each.missing:.2%}", str(each.infinite))
    return table


def _print_findings(findings: Sequence[Finding], console: Console) -> None:
    table = Table(title="findings", title_justify="left", show_lines=True)
    table.add_column("")
    table.add_column("about")
    table.add_column("what", overflow="fold")
    for each in findings:
        words = [
            word for name, value in each.settings.items() for word in flag_words(f"--{name}", value)
        ]
        text = Text(f"{each.text} -> {shlex.join(words)}" if words else each.text)
        table.add_row(each.weight, each.subject, text, style=COLORS[each.weight])
    console.print(table)
    used = {each.weight for each in findings}
    meant = "; ".join(f"{word}: {text}" for word, text in MEANINGS.items() if word in used)
    console.print(meant, style="dim", highlight=False)


def _speed_line(speed: Speed) -> str:
    if math.isinf(speed.step_seconds):
        return f"speed: {speed.clips_per_second:.1f} clips per second are read"
    return (
        f"speed: a step of {speed.batch} clips takes {speed.step_seconds:.2f} s on {speed.device}, "
        f"{speed.needed:.1f} clips per second; one process reads {speed.clips_per_second:.1f}"
    )


def _print_overfit(found: Overfit, console: Console) -> None:
    spent = f"a single clip, after {found.steps} steps in {found.seconds:.0f} s:"
    console.print(spent, highlight=False)
    table = Table(f"{found.row} filled by")
    table.add_column("PSNR", justify="right")
    for name, value in {"model": found.psnr, **found.baselines}.items():
        table.add_row(name, "exact" if value is None else f"{value:.2f}")
    console.print(table)
    says = {
        "learned": "the model can learn this clip",
        "too few steps": "not yet: give it more steps (--minutes), or a faster machine",
        "not learned": "the model doesn't learn this clip, and the loss doesn't fall any more: "
        "look at sheet.png, then at --optim.lr",
        "nothing moves": "nothing moves in this clip, so there is nothing to learn from it",
    }
    console.print(f"verdict: {says[found.verdict]}", style="bold", highlight=False)
