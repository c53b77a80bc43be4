"""The user's verbs as commands: read, fill, write."""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import Positional

from framefill.data.read import read as read_video
from framefill.data.video import Video
from framefill.data.write import check_target
from framefill.errors import InputError
from framefill.fill import Filler, load
from framefill.filled import Filled, sample_paths
from framefill.options import AskOptions, InputOptions, say
from framefill.parsing import parse_frames
from framefill.settings import Settings

Ask = Annotated[AskOptions, tyro.conf.arg(name="")]
Read = Annotated[InputOptions, tyro.conf.arg(name="")]


def predict(
    video: Positional[Path], frames: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames after the end of a video.

    Args:
        video: Video file, folder of images, or array (.npy, .npz).
        frames: Number of frames to fill in.
        read: What is read.
        ask: What is asked of which model.
    """
    filler, given, out = _prepare(video, read, ask, "predict")
    _finish(filler.predict(given, frames, **ask.options()), ask, out)


def rewind(
    video: Positional[Path], frames: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames before the start of a video.

    Args:
        video: Video file, folder of images, or array (.npy, .npz).
        frames: Number of frames to fill in.
        read: What is read.
        ask: What is asked of which model.
    """
    filler, given, out = _prepare(video, read, ask, "rewind")
    _finish(filler.rewind(given, frames, **ask.options()), ask, out)


def interpolate(
    video: Positional[Path], between: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames between each two frames of a video, which slows it down.

    Args:
        video: Video file, folder of images, or array (.npy, .npz).
        between: Number of frames to fill in between each two.
        read: What is read.
        ask: What is asked of which model.
    """
    filler, given, out = _prepare(video, read, ask, "interpolate")
    _finish(filler.interpolate(given, between, **ask.options()), ask, out)


def upsample(
    video: Positional[Path], factor: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Multiply the frame rate of a video.

    Args:
        video: Video file, folder of images, or array (.npy, .npz).
        factor: How many times the frame rate.
        read: What is read.
        ask: What is asked of which model.
    """
    filler, given, out = _prepare(video, read, ask, "upsample")
    _finish(filler.upsample(given, factor, **ask.options()), ask, out)


def fill(
    video: Positional[Path],
    known: str | None = None,
    roles: str | None = None,
    read: Read = InputOptions(),
    ask: Ask = AskOptions(),
) -> None:
    """Fill in any frames of a video.

    Args:
        video: Video file, folder of images, or array (.npy, .npz).
        known: The frames that are given, such as 0-4,15; all others are filled in. None: frames
            that are NaN throughout are filled in.
        roles: Instead of known, one letter per frame: K given, T to be filled in, - neither
            (left black, or NaN). Write --roles=-KT if the first letter is -.
        read: What is read.
        ask: What is asked of which model.
    """
    filler, given, out = _prepare(video, read, ask, "fill")
    frames = None if known is None else parse_frames(known)
    filled = filler.fill(given, frames, roles=roles, **ask.options())
    gaps = np.issubdtype(given.frames.dtype, np.floating) and np.isnan(given.frames).any()
    _finish(filled, ask, out, truth=None if gaps else given)


def generate(frames: int, ask: Ask = AskOptions()) -> None:
    """Make videos from nothing.

    Args:
        frames: Number of frames.
        ask: What is asked of which model.
    """
    out = _target(ask, "generate")
    _finish(load(ask.model).generate(frames, **ask.options()), ask, out)


def _prepare(
    video: Path, read: InputOptions, ask: AskOptions, verb: str
) -> tuple[Filler, Video, Path]:
    """Load the model, read the video, in the model's size if asked for, and choose the target."""
    out = _target(ask, verb)
    if out.exists() and video.exists() and out.samefile(video):
        raise InputError(f"{out} is the video itself: choose another name for --out")
    filler = load(ask.model)
    given = read_video(video, start=read.start, frames=read.take, every=read.every)
    if read.fit != "none":
        config = filler.model.config
        given = given.fit(
            height=config.height, width=config.width, channels=config.channels, how=read.fit
        )
    return filler, given, out


def _target(ask: AskOptions, verb: str) -> Path:
    """Return where the answer goes; refuse what can't be written before the work, not after."""
    Settings(**ask.options())
    out = ask.out or Path(f"{verb}.mp4")
    check_target(out, overwrite=ask.overwrite or ask.samples > 1)
    for path in sample_paths(out, ask.samples):
        check_target(path, overwrite=ask.overwrite)
    if _sheet(out).exists() and not ask.overwrite:
        raise InputError(f"{_sheet(out)} exists: choose another --out or pass --overwrite")
    return out


def _sheet(out: Path) -> Path:
    return out.with_name(f"{out.stem}.sheet.png")


def _finish(filled: Filled, ask: AskOptions, out: Path, truth: Video | None = None) -> None:
    written = filled.save(out, overwrite=ask.overwrite)
    if filled.frames.shape[-1] in (1, 3):
        filled.contact_sheet(_sheet(out), truth=truth, overwrite=ask.overwrite)
        written.append(_sheet(out))
    say(f"wrote {', '.join(map(str, written))}")
