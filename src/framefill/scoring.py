"""The commands that score models: evaluate and protocols."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional

from framefill.bpd import evaluate_bpd_into, print_bpd, whole_rows
from framefill.data.videos import Fit
from framefill.demo import free_folder
from framefill.errors import InputError
from framefill.evaluation.examples import example_rows
from framefill.evaluation.job import Asked
from framefill.evaluation.parts import REPORT, REQUEST
from framefill.evaluation.run import Output, evaluate_all
from framefill.evaluation.show import print_report
from framefill.evaluation.sources import data_of
from framefill.evaluation.weights import WeightFiles
from framefill.fill import Filler, load
from framefill.metrics.scores import SsimConvention
from framefill.options import FillOptions, say
from framefill.protocols.protocol import Protocol, own_protocol
from framefill.protocols.registry import PROTOCOLS
from framefill.protocols.registry import protocol as get_protocol
from framefill.serialise import to_data
from framefill.settings import Settings


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is scored."""

    clips: int | None = None
    """Number of clips, if another than the protocol says; every row then says so."""
    ssim: SsimConvention | None = None
    """Of rows of your own: SSIM of 8-bit gray frames as in MCVD's evaluation, of frames rounded to
    black and white as there for moving digits, of each channel, or of channels with square
    windows. None: what suits the data."""
    above: tuple[float, ...] = ()
    """Of rows of your own: thresholds in the data's units; whether the chances to be above them can
    be believed (Brier score, reliability)."""
    fit: Fit = "none"
    """Convert videos of another size to the model's: stretch, crop to the middle, or ramvid, as
    RaMViD's loader does. none: as the run or the protocol says."""
    keep: bool = False
    """Write the true and the filled frames too, for scores that are computed elsewhere."""
    name: str = ""
    """Of the model, in the rows; none: that of its folder."""
    weights: Annotated[WeightFiles, tyro.conf.arg(name="")] = field(default_factory=WeightFiles)
    """Files of weights."""


def evaluate(
    model: Positional[Path],
    protocol: tuple[str, ...] = (),
    data: Path | None = None,
    out: Path | None = None,
    roles: tuple[str, ...] = (),
    metric: Literal["all", "bpd"] = "all",
    score: Annotated[EvaluateOptions, tyro.conf.arg(name="")] = EvaluateOptions(),
    fill: Annotated[FillOptions, tyro.conf.arg(name="")] = FillOptions(samples=0),
) -> None:
    """Score a model under a protocol, beside fillings that need no model.

    Args:
        model: A model that ships with framefill, a run folder, or a model folder with --data.
        protocol: By name (framefill protocols), or a .json file: a protocol, or a report, whose
            protocol is taken.
        data: Folder of the data, if it is another than that of the run.
        out: New folder for report.json, table.md, clips.csv, curves and contact sheets; a name
            that ends in .json is the report's, and the rest goes to a folder beside it. None:
            scores-PROTOCOL. The same command again goes on where it was.
        roles: Instead of a protocol, rows of your own, one letter per frame: K given, T filled in
            and scored. None: one row for each task that the model was trained for; for bpd, rows
            as long as its clips.
        metric: All scores of the protocol; or bpd, bits per dimension: an upper bound on what
            coding the T frames takes, by DDPM's steps (samples, guidance are not read).
        score: What is scored.
        fill: How frames are filled; samples 0: as many as the protocol says.
    """
    if fill.samples < 0:
        raise InputError(f"samples {fill.samples} must be at least 1, or 0 for the protocol's")
    filler = load(model)
    chosen = _protocols(filler, protocol, roles, score, fill.samples)
    if metric == "bpd":
        plain = not (protocol or roles)
        _bits(filler, model, chosen, data, out, score, fill, plain=plain)
        return
    options = fill.options()
    options["samples"] = max(1, fill.samples)
    jobs = [
        (
            Asked(
                protocol=each,
                source=model,
                data=data,
                clips=score.clips,
                samples=fill.samples or None,
                fit=score.fit,
                weights=score.weights,
                settings=Settings(**options),
                at_most=not protocol and score.clips is None,
            ),
            Output(
                out=_place(out, each, several=len(chosen) > 1),
                keep=score.keep,
                name=score.name or model.name,
                command=f"framefill {shlex.join(sys.argv[1:])}",
            ),
        )
        for each in chosen
    ]
    evaluate_all(filler, jobs, say=say, show=lambda report: print_report(report, Console()))


def protocols(names: Positional[tuple[str, ...]] = ()) -> None:
    """List the protocols, or all that some of them say.

    Args:
        names: Of some.
    """
    for each in map(get_protocol, names):
        print(json.dumps(to_data(each, Protocol), indent=2, ensure_ascii=False))
    if names:
        return
    for each in PROTOCOLS.values():
        row = each.row if len(each.row) <= 20 else f"{each.row[:17]}..."
        print(
            f"{each.name:31} {row:20} {each.clips:6,} clips x {each.trajectories:3}  {each.summary}"
        )


def _protocols(
    filler: Filler,
    names: Sequence[str],
    roles: Sequence[str],
    score: EvaluateOptions,
    samples: int,
) -> list[Protocol]:
    """Return what is asked for: protocols by name, rows of the user's own, or one for each task."""
    if names and (roles or score.ssim or score.above):
        raise InputError(
            "--roles, --ssim and --above are for rows of your own, not for a --protocol"
        )
    if names:
        found = [get_protocol(name) for name in names]
    else:
        rows = roles or tuple(
            row for row in example_rows(filler.model.config.masks).values() if "K" in row
        )
        clips = 64 if score.clips is None else score.clips
        found = [
            own_protocol(
                row, ssim=score.ssim, clips=clips, trajectories=samples or 4, above=score.above
            )
            for row in rows
        ]
    called = [each.name for each in found]
    if twice := [name for name in called if called.count(name) > 1]:
        raise InputError(f"{twice[0]} is asked for twice: name each once")
    return found


def _place(out: Path | None, protocol: Protocol, *, several: bool) -> Path:
    """Return the folder of an evaluation.

    Where the user has named none, it is the first that isn't done; an unfinished one goes on.
    """
    if out is not None:
        return out / protocol.name if several else out
    plain = Path(f"scores-{protocol.name}")
    place, number = plain, 1
    while place.exists() and ((place / REPORT).exists() or not (place / REQUEST).exists()):
        number += 1
        place = plain.with_name(f"{plain.name}-{number}")
    return place


def _bits(
    filler: Filler,
    source: Path,
    chosen: Sequence[Protocol],
    data: Path | None,
    out: Path | None,
    score: EvaluateOptions,
    fill: FillOptions,
    *,
    plain: bool,
) -> None:
    """Bound the bits of the rows of protocols, on clips of their data."""
    if score != EvaluateOptions(clips=score.clips, fit=score.fit):
        raise InputError(
            "--ssim, --above, --keep, --name and files of weights are for --metric all"
        )
    model, first = filler.model, chosen[0]
    rows = [each.row for each in chosen]
    if first.benchmark and len(chosen) > 1:
        raise InputError("bits per dimension are of one --protocol at a time: name one")
    if plain:
        rows = list(whole_rows(model.config.masks, rows))
    options = fill.options()
    options["samples"] = 1
    place = out or free_folder(Path(f"bits-{first.name}"))
    scores = evaluate_bpd_into(
        place,
        model,
        data_of(first, source, data, model.config, fit=score.fit),
        rows,
        clips=first.clips if score.clips is None else score.clips,
        settings=Settings(**options),
        say=say,
    )
    print_bpd(scores, Console())
    say(f"bits per dimension: {place}")
