"""The `framefill` command: parse, call, show."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TextIO

import tyro
from rich.console import Console
from tyro.conf import Positional

from framefill.conversion import ConvertOptions, convert_mcvd, convert_ramvid
from framefill.costs import cost
from framefill.demo import check_folder, free_folder, print_scores, run_demo
from framefill.errors import EchoError, FillWarning, InputError
from framefill.fill import Filler, load
from framefill.options import say
from framefill.parsing import parse_command
from framefill.recipes import RECIPES
from framefill.recipes import recipe as get_recipe
from framefill.roles import LETTERS
from framefill.run import train as run_training
from framefill.runs import average, info, plan, plan_row, train
from framefill.scoring import evaluate, protocols
from framefill.stock import data, doctor, pack
from framefill.stopping import REQUEUE, StoppedError
from framefill.training.ranks import LostError
from framefill.verbs import fill, generate, interpolate, predict, rewind, upsample


def convert(
    kind: Positional[Literal["mcvd", "ramvid"]],
    source: Positional[Path],
    out: Path,
    options: Annotated[ConvertOptions, tyro.conf.arg(name="")] = ConvertOptions(),
) -> None:
    """Convert official files to a model or a run, or a model or a run to official files.

    Args:
        kind: Whose files: mcvd or ramvid.
        source: The file (MCVD: checkpoint_*.pt; RaMViD: model*.pt or ema_*.pt); or a model folder
            or run folder, for the way back.
        out: The new model folder or run folder; or the new file.
        options: What the files do not say.
    """
    converted = convert_mcvd if kind == "mcvd" else convert_ramvid
    say(converted(source, out, options))


def demo(out: Path | None = None, clips: int = 16, train: bool = False) -> None:
    """Fill in frames of moving digits in all six ways, with pictures, videos and scores.

    Args:
        out: New folder for what the demo writes; none: framefill-demo, framefill-demo-2 and so on.
            Training goes to the same name, the first one, with -run.
        clips: Held-out clips that are scored.
        train: Train the model from scratch first, in minutes, instead of the one that framefill
            carries.
    """
    if clips < 1:
        raise InputError(f"clips {clips} must be at least 1")
    config = get_recipe("digits")
    run = Path(f"{out or 'framefill-demo'}-run")
    out = out or free_folder(Path("framefill-demo"))
    check_folder(out)
    filler = Filler(run_training("digits", out=run, say=say)) if train else load("digits")
    scores = run_demo(filler, config, out, clips=clips, say=say)
    print_scores(scores, Console())
    say(f"videos, contact sheets and scores: {out}; look at {out / 'tasks.png'} first")


def recipes() -> None:
    """List the recipes, with what they cost and where their values are from.

    Memory is that of training in float32: weights, gradients and averages, and with each clip of
    the batch as much more.
    """
    print(f"{'recipe':26} {'parameters':>11} {'memory':>8} {'+ clip':>8}  trains (source)")
    for name, entry in RECIPES.items():
        price = cost(entry.make().model())
        memory, clip = (f"{size / 2**30:.2f} G" for size in (price.state_bytes, price.clip_bytes))
        print(
            f"{name:26} {price.parameters:11,} {memory:>8} {clip:>8}  "
            f"{entry.summary} ({entry.source})",
            flush=True,
        )


COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__: command
    for command in (
        demo,
        train,
        predict,
        rewind,
        interpolate,
        fill,
        upsample,
        generate,
        plan,
        info,
        average,
        recipes,
        doctor,
        data,
        pack,
        convert,
        evaluate,
        protocols,
    )
}


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warnings in one line, others as Python does."""
    if issubclass(category, FillWarning):
        say(f"framefill: warning: {message}")
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def _is_row(words: list[str]) -> bool:
    """Say whether a plan is asked for of a row, misspelt perhaps, or else of a training."""
    word = words[0] if words else ""
    return 2 * sum(letter in LETTERS for letter in word) > len(word) and not Path(word).exists()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 1 a failure that is ours, 2 a user's mistake, 75 stopped by a
        signal and saved, to be started again, 130 interrupted.
    """
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        row = words[:1] == ["plan"] and _is_row(words[1:])
        call = parse_command({**COMMANDS, "plan": plan_row} if row else COMMANDS, words)
        with warnings.catch_warnings():
            warnings.simplefilter("always", FillWarning)
            warnings.showwarning = _warn
            call()
    except EchoError:
        return 2
    except InputError as error:
        print(f"framefill: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"framefill: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except LostError as error:
        print(f"framefill: {error}", file=sys.stderr)
        return 1
    except StoppedError as stop:
        saved = ", and saved" if stop.saved else ""
        print(
            f"framefill: stopped by {stop.word}{saved}: the same command goes on", file=sys.stderr
        )
        return REQUEUE
    except KeyboardInterrupt:
        print("framefill: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
