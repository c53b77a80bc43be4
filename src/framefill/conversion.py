"""What `framefill convert` does: official files to models and runs, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from framefill.adopt import adopt_ramvid, release_ramvid
from framefill.convert.mcvd_checkpoint import from_mcvd, to_mcvd
from framefill.convert.ramvid_checkpoint import from_ramvid, to_ramvid
from framefill.convert.ramvid_flags import parse_flags
from framefill.errors import InputError
from framefill.fill import load
from framefill.model import Model
from framefill.run_folder import Run


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """What the official files do not say, and what is made of them."""

    config_yml: Path | None = None
    """MCVD: the checkpoint's config.yml; none: the one beside it."""
    weights: Literal["average", "last"] = "average"
    """MCVD: the moving average of the weights, or the last ones, which one file holds."""
    flags: str | None = None
    """RaMViD: what its scripts were called with, in quotes; none: what the weights tell, and the
    published values."""
    run: bool = False
    """RaMViD: a run folder, to go on training, instead of a model: takes ema_*.pt and opt*.pt from
    beside model*.pt. From a run folder: all of these files."""
    data: Path | None = None
    """RaMViD, with --run: the folder of the videos."""
    overwrite: bool = False
    """Replace what is there already; never a run folder."""


def convert_mcvd(source: Path, out: Path, options: ConvertOptions) -> str:
    """Convert a checkpoint of MCVD to a model, or a model to one; return what to tell the user.

    Raises:
        InputError: an option is RaMViD's or of the other way, a file can't be converted, or
            something is there already.
    """
    if options.flags is not None or options.run or options.data is not None:
        raise InputError("--flags, --run and --data are for RaMViD's files")
    if source.is_dir():
        if options.config_yml is not None or options.weights != "average":
            raise InputError("--config-yml and --weights are for checkpoints, not for models")
        written = to_mcvd(load(source).model, out, overwrite=options.overwrite)
        return f"wrote {', '.join(map(str, written))}; set data.dataset in {written[-1]}"
    _refuse_existing(out, options)
    return _saved(from_mcvd(source, options.config_yml, weights=options.weights), out, options)


def convert_ramvid(source: Path, out: Path, options: ConvertOptions) -> str:
    """Convert files of RaMViD to a model or a run, or one of these to them.

    Raises:
        InputError: as `convert_mcvd`.
    """
    if options.config_yml is not None or options.weights != "average":
        raise InputError("--config-yml and --weights are for MCVD's checkpoints")
    if options.run and options.overwrite:
        raise InputError("--overwrite with --run: runs are never overwritten; choose another --out")
    if options.data is not None and not options.run:
        raise InputError("--data is for runs: pass --run, or leave it out")
    if source.is_dir():
        if options.flags is not None or options.data is not None:
            raise InputError("--flags and --data are for official files, not for models")
        if options.run:
            said = release_ramvid(Run(source), out)
        else:
            said = to_ramvid(load(source).model, out, overwrite=options.overwrite)
        return f"wrote {out}; RaMViD's scripts read it with: {said}"
    flags = None if options.flags is None else parse_flags(options.flags)
    if options.run:
        missing = adopt_ramvid(source, out, flags=flags, data=options.data)
        command = f"framefill train {Run(out).config} --out {out}"
        command += "" if options.data else " --data FOLDER"
        return "\n".join([*missing, f"wrote {out}; to go on: {command}"])
    _refuse_existing(out, options)
    return _saved(from_ramvid(source, flags), out, options)


def _refuse_existing(out: Path, options: ConvertOptions) -> None:
    if out.exists() and not options.overwrite:
        raise InputError(f"{out} exists: choose another folder for --out or pass --overwrite")


def _saved(model: Model, out: Path, options: ConvertOptions) -> str:
    model.save(out, overwrite=options.overwrite)
    return f"wrote {out}; it can {', '.join(model.tasks)}"
