"""What a run is trained on: the user's data, found, divided and measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from framefill.config import Clips, Config
from framefill.data.digits import DigitsConfig
from framefill.data.own import Dataset, OwnClips, OwnConfig
from framefill.data.videos import VideoClips, VideosConfig
from framefill.errors import InputError


@dataclass(frozen=True)
class Intake:
    """The data of a run.

    Args:
        config: The run's, with all that the data decides.
        train: Clips to learn from.
        test: Held-out clips, if any.
    """

    config: Config
    train: Clips
    test: Clips | None


def take_in(
    config: Config,
    data: Path | str | Dataset | None,
    test: Dataset | None,
    *,
    known: Config | None,
    held_out: bool,
    progress: bool,
    say: Callable[[str], None],
) -> Intake:
    """Find and measure the data of a run.

    Args:
        config: The run's.
        data: Where the data is, or a dataset; None: where the config says.
        test: A dataset that is held out, if `data` is one.
        known: Config of the same run, if there is one already: what was measured on the same data
            is taken from there.
        held_out: Held-out clips are needed.
        progress: Show a progress bar.
        say: Takes messages for the user.

    Raises:
        InputError: the data can't be read, or doesn't suit the config.
    """
    if test is not None:
        _check_dataset(test, "test")
    if data is not None and not isinstance(data, str | Path):
        _check_dataset(data, "data")
        return _of_datasets(config, data, test if held_out else None, progress, known)
    if test is not None:
        raise InputError("test= is a dataset for data= that is one: give both, or a folder")
    if data is not None:
        if isinstance(config.data, OwnConfig):
            raise InputError(f"this run was trained on a Python object, not on {data}")
        config = replace(config, data=replace(config.data, path=Path(data)))
    if isinstance(config.data, VideosConfig):
        config = replace(config, data=config.data.resolved())
    clips = config.clips("train")
    if isinstance(clips, VideoClips):
        _tell(clips, say)
        config = _measured_before(config, clips, known) or _measured(config, clips, progress)
    else:
        config = config.measured(clips)
    config.normaliser.to_clip(clips[0])
    return Intake(config, clips, config.clips("test") if held_out else None)


def _check_dataset(value: object, name: str) -> None:
    """Refuse what is no dataset; arrays and tensors have methods of the same names."""
    if isinstance(value, type):
        raise InputError(f"{value.__name__} is a class: give a dataset, {value.__name__}(...)")
    if isinstance(value, np.ndarray | Tensor):
        raise InputError(
            f"{name} is an array: save it as .npy and give the path, or an object with __len__ "
            "and clip(i)"
        )
    if not isinstance(value, Dataset):
        raise InputError(
            f"{name} is a {type(value).__name__}: give an object with __len__ and clip(i)"
            + (", or a path" if name == "data" else "")
        )


def _of_datasets(
    config: Config, data: Dataset, test: Dataset | None, progress: bool, known: Config | None
) -> Intake:
    hide = config.data.condition_dropout if not isinstance(config.data, DigitsConfig) else (0.1,)
    own, length, seed = OwnConfig.of(data, hide), config.masks.frames, config.seed
    made = partial(
        OwnClips, config=own, frames=length, seed=seed, classes=config.model().network_classes
    )
    clips, held = made(data, split="train"), made(test, split="test") if test is not None else None
    config = replace(config, data=own)
    config = _measured_before(config, clips, known) or _measured(config, clips, progress)
    config.normaliser.to_clip(clips[0])
    return Intake(config, clips, held)


def _tell(clips: VideoClips, say: Callable[[str], None]) -> None:
    if clips.note:
        say(clips.note)
    if short := clips.left_out:
        say(
            f"left out: {len(short)} of {len(short) + len(clips.footage)} videos are shorter than "
            f"a clip, first {short[0].name} with {short[0].length} frames"
        )


def _measured_before(
    config: Config, clips: VideoClips | OwnClips, known: Config | None
) -> Config | None:
    """Return the config with what was measured for the same run, if it was."""
    if known is None or not (config.scaling.measures(clips.footage) or clips.config.conditions):
        return None
    if (known.data, known.scaling) != (config.data, config.scaling):
        return None
    return config.scaled(known.normaliser, known.conditions)


def _measured(config: Config, clips: VideoClips | OwnClips, progress: bool) -> Config:
    total = sum(each.length for each in clips.footage)
    console = Console(stderr=True)
    with Progress(
        console=console, disable=not progress or not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("measuring the data", total=total)
        return config.measured(clips, lambda frames: bar.advance(task, frames))
