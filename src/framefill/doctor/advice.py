"""What to change: settings, and commands that can be pasted."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

from framefill.config import Config
from framefill.doctor.asked import Asked
from framefill.doctor.report import Finding, Value
from framefill.errors import InputError
from framefill.serialise import from_data, to_data

IN_STORE = (  # settings of the data that have no meaning for a packed store
    *("fit", "resize", "fps", "variables", "axes", "missing", "benchmark", "split", "holdout"),
)


def advised(asked: Asked, findings: Sequence[Finding]) -> tuple[Config, list[Finding]]:
    """Return the configuration with what the findings advise, and what came of it.

    Of findings that differ, the first one counts.
    """
    settings: dict[str, Value] = {}
    for each in findings:
        for flag, value in each.settings.items():
            settings.setdefault(flag, value)
    config = replace(asked.config, data=asked.videos)
    try:
        return _changed(config, settings), []
    except InputError as error:
        return config, [Finding(subject="settings", weight="stops", text=str(error))]


def _changed(config: Config, settings: Mapping[str, Value]) -> Config:
    data = to_data(config)
    for flag, value in settings.items():
        *parts, name = flag.split(".")
        part = data
        for each in parts:
            part = part[each]
        part[name] = value
    return from_data(data, Config, source="the advised settings")


def commands(asked: Asked, config: Config, findings: Sequence[Finding]) -> list[str]:
    """Return the commands that put the advice into practice."""
    data, lines = str(asked.data), []
    folders: dict[Path, list[str]] = {}
    for name in dict.fromkeys(name for each in findings for name in each.unfit):
        folders.setdefault(Path(name).parent, []).append(name)
    for folder, names in folders.items():
        aside = Path(f"{asked.data}-left-out") / folder.relative_to(asked.data)
        lines.append(shlex.join(["mkdir", "-p", str(aside)]))
        lines.append(shlex.join(["mv", "-n", *names, str(aside)]))
    videos = asked.without_path(config)
    if any(each.subject == "speed" for each in findings):
        data = f"{asked.data}-packed"
        size = _flags(asked.plain.data, videos, "--data.")
        pack = ["framefill", "pack", str(asked.data), "--out", data, "--recipe", asked.recipe]
        lines.append(shlex.join([*pack, *size]))
        done = {name: getattr(asked.plain.data, name) for name in IN_STORE}
        videos = replace(videos, **done)
    flags = _flags(asked.plain, replace(config, data=videos), "--")
    if needs_hands(findings):
        again = ["framefill", "doctor", data, "--recipe", asked.recipe, "--out", "doctor-2"]
        return [*lines, shlex.join([*again, *flags])]
    name = asked.data.resolve().name.split(".")[0]
    run = ["framefill", "train", asked.recipe, "--data", data, "--out", f"{name}-run"]
    return [*lines, shlex.join([*run, *flags])]


def needs_hands(findings: Sequence[Finding]) -> bool:
    """Say whether something stops training that no command mends."""
    return any(each.weight == "stops" and not each.settings and not each.unfit for each in findings)


def _flags(old: object, new: object, start: str) -> list[str]:
    """Return the flags that make one configuration of another."""
    words = []
    for name in (each.name for each in fields(old)):  # type: ignore[arg-type]
        before, after = getattr(old, name), getattr(new, name)
        flag = f"{start}{name}"
        if before == after or (is_dataclass(after) and type(before) is not type(after)):
            continue
        if isinstance(after, tuple) and any(map(is_dataclass, after)):
            continue  # no flag can say that
        words += (
            _flags(before, after, f"{flag}.") if is_dataclass(after) else flag_words(flag, after)
        )
    return words


def flag_words(flag: str, value: object) -> list[str]:
    """Return a flag and its value as words of a command."""
    if isinstance(value, bool):
        start, dot, name = flag.removeprefix("--").rpartition(".")
        return [flag if value else f"--{start}{dot}no-{name}"]
    if isinstance(value, tuple):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
