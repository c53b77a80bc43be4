"""The user's verbs as commands: read, fill, write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tyro.conf import Positional

from framefill.data.formats import format_of, suffix_of
from framefill.data.read import read as read_video
from framefill.data.siblings import sample_paths, sibling
from framefill.data.sidecar import load_arrays
from framefill.data.video import Video
from framefill.data.videos import Fit
from framefill.data.write import check_target
from framefill.ensemble import Statistic
from framefill.errors import InputError
from framefill.fill import Filler, load
from framefill.filled import Filled
from framefill.options import AskOptions, InputOptions, say
from framefill.parsing import parse_frames
from framefill.settings import Options, Settings

Ask = Annotated[AskOptions, tyro.conf.arg(name="")]
Read = Annotated[InputOptions, tyro.conf.arg(name="")]
PICTURES = (".mp4", ".gif", "")  # which show values rather than hold them
INTEGERS = ("DICOM", "TFRecord")  # formats without floats


def predict(
    video: Positional[Path], frames: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames after the end of a video.

    Args:
        video: Video, folder of images, or array (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...).
        frames: Number of frames to fill in.
        read: What is read.
        ask: What is asked of which model.
    """
    request = _prepare(video, read, ask, "predict")
    request.finish(request.filler.predict(request.given, frames, **request.options))


def rewind(
    video: Positional[Path], frames: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames before the start of a video.

    Args:
        video: Video, folder of images, or array (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...).
        frames: Number of frames to fill in.
        read: What is read.
        ask: What is asked of which model.
    """
    request = _prepare(video, read, ask, "rewind")
    request.finish(request.filler.rewind(request.given, frames, **request.options))


def interpolate(
    video: Positional[Path], between: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Fill in frames between each two frames of a video, which slows it down.

    Args:
        video: Video, folder of images, or array (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...).
        between: Number of frames to fill in between each two.
        read: What is read.
        ask: What is asked of which model.
    """
    request = _prepare(video, read, ask, "interpolate")
    request.finish(request.filler.interpolate(request.given, between, **request.options))


def upsample(
    video: Positional[Path], factor: int, read: Read = InputOptions(), ask: Ask = AskOptions()
) -> None:
    """Multiply the frame rate of a video.

    Args:
        video: Video, folder of images, or array (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...).
        factor: How many times the frame rate.
        read: What is read.
        ask: What is asked of which model.
    """
    request = _prepare(video, read, ask, "upsample")
    request.finish(request.filler.upsample(request.given, factor, **request.options))


def fill(
    video: Positional[Path],
    known: str | None = None,
    roles: str | None = None,
    read: Read = InputOptions(),
    ask: Ask = AskOptions(),
) -> None:
    """Fill in any frames of a video.

    Args:
        video: Video, folder of images, or array (.npy .npz .nc .zarr .h5 .tif .dcm .nii ...).
        known: The frames that are given, such as 0-4,15; all others are filled in. None: frames
            that are missing are filled in: NaN throughout, or left out of the time stamps.
        roles: Instead of known, one letter per frame: K given, T to be filled in, - neither
            (left black, or NaN). Write --roles=-KT if the first letter is -.
        read: What is read.
        ask: What is asked of which model.
    """
    request = _prepare(video, read, ask, "fill")
    frames = None if known is None else parse_frames(known)
    given = request.given
    filled = request.filler.fill(given, frames, roles=roles, **request.options)
    gaps = given.frames.dtype.kind == "f" and np.isnan(given.frames).any()
    whole = not gaps and filled.frames.shape[1:] == given.frames.shape
    request.finish(filled, truth=given if whole else None)


def generate(frames: int, ask: Ask = AskOptions()) -> None:
    """Make videos from nothing.

    Args:
        frames: Number of frames.
        ask: What is asked of which model.
    """
    out = _target(ask, "generate")
    _finish(load(ask.model).generate(frames, **_options(ask)), ask, out)


@dataclass(frozen=True)
class _Request:
    """What a verb is asked to do.

    Args:
        filler: The model.
        given: The video, in the model's size.
        native: The video's own height, width and dtype.
        fit: How it was made of that.
        options: For the verb.
        ask: As it was asked.
        out: Where the answer goes.
    """

    filler: Filler
    given: Video
    native: tuple[int, int, np.dtype[np.generic]]
    fit: Fit
    options: Options
    ask: AskOptions
    out: Path

    def finish(self, filled: Filled, truth: Video | None = None) -> None:
        """Write what was filled, without the pixels that the frames were padded with."""
        height, width, dtype = self.native
        if self.fit == "pad":
            whole = not np.isnan(filled.frames[:, :, :height, :width]).any()
            filled = filled.cropped(height, width, dtype if whole else filled.frames.dtype)
        _finish(filled, self.ask, self.out, truth)


def _prepare(video: Path, read: InputOptions, ask: AskOptions, verb: str) -> _Request:
    """Load the model, read the video, in the model's size if asked for, and choose the target."""
    out = _target(ask, verb)
    if out.exists() and video.exists() and out.samefile(video):
        raise InputError(f"{out} is the video itself: choose another name for --out")
    filler = load(ask.model)
    config = filler.model.config
    given = _read(video, read, tuple(each.name for each in config.conditions), ask)
    native = (given.frames.shape[1], given.frames.shape[2], given.frames.dtype)
    if read.fit != "none":
        given = given.fit(
            height=config.height, width=config.width, channels=config.channels, how=read.fit
        )
    return _Request(filler, given, native, read.fit, _options(ask), ask, out)


def _read(video: Path, read: InputOptions, conditions: tuple[str, ...], ask: AskOptions) -> Video:
    """Read a video, with the conditions that its file has if none are given."""

    def part(names: tuple[str, ...]) -> Video:
        return read_video(
            video,
            start=read.start,
            frames=read.take,
            every=read.every,
            video=read.video,
            layout=read.layout(names),
        )

    if not conditions or ask.conditions is not None:
        return part(())
    try:
        return part(conditions)
    except InputError as error:
        given = part(())  # unless that was what was wrong
        say(f"filled without {', '.join(conditions)}: {error}")
        return given


def _options(ask: AskOptions) -> Options:
    options = ask.options()
    if ask.conditions is not None:
        options["conditions"] = load_arrays(ask.conditions)
    return options


def _target(ask: AskOptions, verb: str) -> Path:
    """Return where the answer goes; refuse what can't be written before the work, not after."""
    Settings(**ask.options())
    out = ask.out or Path(f"{verb}.mp4")
    check_target(out, overwrite=ask.overwrite or ask.samples > 1)
    for path in sample_paths(out, ask.samples):
        check_target(path, overwrite=ask.overwrite)
    pictures = [_sheet(out), *_check_summary(ask, out)]
    if not ask.overwrite and (there := [path for path in pictures if path.exists()]):
        raise InputError(f"{there[0]} exists: choose another --out or pass --overwrite")
    return out


def _check_summary(ask: AskOptions, out: Path) -> list[Path]:
    """Refuse a summary that can't be made or written; return its picture, if there is one."""
    for word in ask.summary:
        Statistic.parse(word)
    if not ask.summary:
        return []
    if ask.samples < 2:
        raise InputError("--summary of 1 sample: it has no spread, ask for --samples 8 or more")
    if (known := format_of(out)) and known.name in INTEGERS:
        raise InputError(
            f"--summary writes floats, which {known.name} doesn't hold: choose another --out, such "
            "as .npy, .nc, .tif or .mp4"
        )
    for word in ask.summary:
        check_target(sibling(out, word), overwrite=ask.overwrite)
    return [_uncertainty(out)]


def _sheet(out: Path) -> Path:
    return out.with_name(f"{out.stem}.sheet.png")


def _uncertainty(out: Path) -> Path:
    return sibling(out, "uncertainty", ".png")


def _finish(filled: Filled, ask: AskOptions, out: Path, truth: Video | None = None) -> None:
    written = filled.save(out, overwrite=ask.overwrite)
    if ask.summary:
        written += _summarize(filled, ask, out)
    filled.contact_sheet(_sheet(out), truth=truth, overwrite=ask.overwrite)
    written.append(_sheet(out))
    say(f"wrote {', '.join(map(str, written))}")


def _summarize(filled: Filled, ask: AskOptions, out: Path) -> list[Path]:
    """Write what the samples say together, and tell the scales of pictures that have their own."""
    written = []
    for word in dict.fromkeys(ask.summary):
        asked, path = filled.statistic(word), sibling(out, word)
        written += asked.save(path, overwrite=ask.overwrite)
        if suffix_of(out) in PICTURES and Statistic.parse(word).kind in ("std", "above"):
            unit = f" {filled.units}" if word == "std" and filled.units else ""
            say(f"{path}: black is 0, white {asked.value_range[1]:.3g}{unit}")
    filled.uncertainty(_uncertainty(out), overwrite=ask.overwrite)
    return [*written, _uncertainty(out)]
