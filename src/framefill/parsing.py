"""The command line: from words to a call, with one line for every mistake."""

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import tyro

from framefill.config import Config, read_config
from framefill.errors import InputError, suggestion
from framefill.recipes import RECIPES, recipe
from framefill.recipes.official import official_run
from framefill.recipes.official_ramvid import flags_run
from framefill.tuning import tuning_config

Command = Callable[..., None]
FLAGS = "--flags"
RECIPE_FIRST = ("train", "plan")  # commands whose first word is a recipe, not data
HELP = ("-h", "--help", "--version")


def parse_command(commands: Mapping[str, Command], arguments: list[str]) -> Callable[[], None]:
    """Return the call that the arguments stand for.

    Args:
        commands: Commands by name; their signatures are the interface.
        arguments: The words after the program's name.

    Raises:
        InputError: a word is unknown, missing or of the wrong type.
        SystemExit: help was asked for, and has been printed.
    """
    if not arguments or (arguments[0] not in commands and arguments[0] not in HELP):
        if arguments:
            known = suggestion(arguments[0], commands)
            raise InputError(
                f"no command {arguments[0]!r}{known}; there are: {', '.join(commands)}"
            )
        raise InputError(f"which command? there are: {', '.join(commands)}; or --help")
    if arguments[0] in HELP:
        return partial(_overview, commands, arguments[0])
    command, words = commands[arguments[0]], _joined(arguments[1:])
    if arguments[0] == "data" and words and words[0] not in HELP:
        words = [word for word in words if word not in HELP]  # NAME --help is NAME's own help
    parameters = inspect.signature(command).parameters
    if "config" in parameters and "recipe" in parameters and arguments[0] not in RECIPE_FIRST:
        named = _value_of("--recipe", words) or parameters["recipe"].default
        command = partial(command, config=named_config(named))
    elif "config" in parameters and words and words[0] not in HELP:
        if words[0].startswith("-"):
            raise InputError(
                f"name the recipe first: framefill {arguments[0]} RECIPE {words[0]} ..."
            )
        command = partial(command, config=named_config(words[0]))
    return _parse(command, arguments[0], words)


def _value_of(flag: str, words: list[str]) -> str:
    """Return the value of a flag, written in either way; "" without it."""
    for place, word in enumerate(words):
        if word == flag and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return ""


def _joined(words: list[str]) -> list[str]:
    """Join --flags and its value, which begins with dashes of its own."""
    if FLAGS not in words[:-1]:
        return words
    place = words.index(FLAGS)
    return [*words[:place], f"{FLAGS}={words[place + 1]}", *words[place + 2 :]]


def named_config(name: str) -> Config:
    """Return the config of a recipe, a JSON file, MCVD's config.yml or a file of RaMViD's flags.

    A model folder, or a run folder, stands for the training that goes on from its model.

    Raises:
        InputError: there is no such recipe or file, or the file is faulty.
    """
    if name not in RECIPES and Path(name).is_dir():
        return tuning_config(Path(name))
    if name.endswith(".json"):
        return read_config(Path(name))
    if name.endswith(".flags"):
        return flags_run(Path(name))
    return official_run(Path(name)) if name.endswith((".yml", ".yaml")) else recipe(name)


def parse_frames(text: str) -> list[int]:
    """Read a list of frames: numbers and ranges with both ends.

    Raises:
        InputError: a part is neither.

    >>> parse_frames("0-2,15")
    [0, 1, 2, 15]
    """
    frames: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        if match is None:
            raise InputError(f"frames {text!r}: {part!r} is neither a number nor a range like 0-4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > 1_000_000:
            raise InputError(f"frames {text!r}: {part!r} has no frames, or far too many")
        frames.extend(range(first, last + 1))
    return frames


def _parse(command: Command, name: str, words: list[str]) -> Callable[[], None]:
    """Let tyro read the words; of its report on a mistake keep what fits on one line."""
    calls: list[Callable[[], None]] = []
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            tyro.cli(
                _recorder(command, calls),
                prog=f"framefill {name}",
                args=words,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(report.getvalue(), command, words)) from None
    return calls[0]


def _recorder(command: Command, calls: list[Callable[[], None]]) -> Command:
    """Return a function of the same signature that notes the call instead of making it.

    So a mistake that the command itself finds is not taken for one of parsing, and what it writes
    to stderr is not swallowed.
    """

    def record(*args: object, **kwargs: object) -> None:
        calls.append(partial(command, *args, **kwargs))

    plain = inspect.unwrap(command.func if isinstance(command, partial) else command)
    same: Command = inspect.unwrap(record)  # the tests wrap every function to check its types
    same.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    same.__doc__ = plain.__doc__
    same.__annotations__ = dict(plain.__annotations__)
    same.__module__ = plain.__module__
    return same


def _one_line(report: str, command: Command, words: list[str]) -> str:
    said = [line.strip(" |│╭╮╰╯─") for line in report.splitlines()]
    said = [line for line in said if line.strip("-")]
    for heading in ("Argument helptext:", "Perhaps you meant:", "For full helptext"):
        end = next((i for i, line in enumerate(said) if line.startswith(heading)), len(said))
        said = said[:end]
    return ": ".join([said[0].lower(), " ".join(said[1:])]) + _flag_suggestion(command, words)


def _flag_suggestion(command: Command, words: list[str]) -> str:
    """Name the flag that a misspelt one comes closest to."""
    flags = _flags(command)
    for word in words:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in flags:
            return suggestion(flag, flags)
    return ""


def _flags(command: Command) -> list[str]:
    """Return every flag of a command, as its help names them."""
    shown = io.StringIO()
    with (
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        tyro.cli(_recorder(command, []), args=["--help"], config=(tyro.conf.AvoidSubcommands,))
    return re.findall(r"--[a-z][\w.-]*", shown.getvalue())


def _overview(commands: Mapping[str, Command], flag: str) -> None:
    if flag == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"framefill {version('framefill')}\n")
        return
    lines = [
        f"  {name:12} {(inspect.getdoc(call) or '').splitlines()[0]}"
        for name, call in commands.items()
    ]
    sys.stdout.write(
        "usage: framefill COMMAND ...\n\nFill in the missing frames of a video.\n\n"
        + "\n".join(lines)
        + "\n\nframefill COMMAND --help says more.\n"
    )
