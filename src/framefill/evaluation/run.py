"""A model under a protocol, from start to end; started by torchrun, in several processes."""

import csv
import io
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from rich.console import Console
from rich.progress import Progress

from framefill.data.videos import Fit
from framefill.errors import InputError
from framefill.evaluation.job import Asked, Job, Source, prepare
from framefill.evaluation.parts import Parts
from framefill.evaluation.pictures import save_sheets
from framefill.evaluation.plots import save_plots
from framefill.evaluation.provenance import made_now
from framefill.evaluation.report import Report
from framefill.evaluation.results import results_of
from framefill.evaluation.weights import WeightFiles, check_used, fetch_missing
from framefill.files import replacing, write_text
from framefill.fill import Filler, load
from framefill.model import Model
from framefill.protocols.protocol import Protocol
from framefill.protocols.registry import protocol as get_protocol
from framefill.serialise import write_json
from framefill.settings import Settings
from framefill.training.ranks import Ranks, joined

Say = Callable[[str], None]
TABLE, CLIPS, FRAMES = "table.md", "clips.csv", "frames"
SILENCE = 30.0  # seconds without a word, where no progress bar is shown


@dataclass(frozen=True, kw_only=True)
class Output:
    """What comes of an evaluation, beside its report.

    Args:
        out: New folder for report.json, table.md, clips.csv, plots and contact sheets; a name that
            ends in .json is the report's, and the rest goes to a folder beside it. None: nothing
            is kept.
        keep: Write the true and the filled frames too: frames/NUMBER.npz with `truth` [n f h w c]
            and `filled` [n k f h w c], floats in the user's units.
        name: Of the model, in rows.
        command: What the report says that it was made with.
    """

    out: Path | None = None
    keep: bool = False
    name: str = "model"
    command: str = ""


def evaluate(
    model: Filler | Model | Path | str,
    *,
    protocol: Protocol | Path | str,
    data: Source = None,
    out: Path | str | None = None,
    clips: int | None = None,
    samples: int | None = None,
    fit: Fit = "none",
    weights: WeightFiles = WeightFiles(),
    settings: Settings = Settings(),
    keep: bool = False,
    name: str = "",
    say: Say = lambda line: None,
) -> Report:
    """Score a model on held-out clips, beside fillings that need no model.

    Started by torchrun, all processes share the work. Killed, it goes on where it was when it is
    called again. The scores depend on neither: a trajectory has a seed of its own, and what is
    computed together is decided by `settings.batch` alone.

    Args:
        model: A model, which is moved to the device, or where it is (`framefill.load`).
        protocol: What is scored and how, by name (`framefill protocols`) or as a value.
        data: Folder of the data, or a dataset of the user's own; None: that of the run, or of
            protocols that make their clips themselves.
        out: See `Output`.
        clips: Number of clips, if another than the protocol says; every row then says so.
        samples: Trajectories of each clip, likewise.
        fit: How videos of another size than the model's are converted; "none": as the run or the
            protocol says.
        weights: Files of the networks that some scores need; without them these are left out,
            which is said before the work.
        settings: How clips are filled; its `samples` are not read.
        keep: See `Output`.
        name: Of the model, in rows; the name of its folder if nothing.
        say: Takes messages for the user, in the first process.

    Raises:
        InputError: the model can't do what the protocol asks for, the data has too few clips and
            nobody asked for fewer, or isn't what the protocol is of; a file of weights is another
            one; or the folder holds something else.
        LostError: another process has gone.
    """
    source = None if isinstance(model, Filler | Model) else Path(model)
    asked = Asked(
        protocol=get_protocol(protocol) if isinstance(protocol, str | Path) else protocol,
        source=source,
        data=data,
        clips=clips,
        samples=samples,
        fit=fit,
        weights=weights,
        settings=settings,
    )
    title = name or ("model" if source is None else source.name)
    command = f"framefill.evaluate, protocol={asked.protocol.name!r}, in Python"
    output = Output(out=None if out is None else Path(out), keep=keep, name=title, command=command)
    (report,) = evaluate_all(model, [(asked, output)], say=say)
    if report is None:
        raise InputError(f"{out} exists and is done: choose another folder for out")
    return report


def evaluate_all(
    model: Filler | Model | Path | str,
    jobs: Sequence[tuple[Asked, Output]],
    *,
    say: Say,
    show: Callable[[Report], None] = lambda report: None,
) -> list[Report | None]:
    """Carry out evaluations of a model, after all of them were looked at.

    Args:
        model: As for `evaluate`.
        jobs: What is asked for and what comes of it, with the same device for all.
        say: Takes messages for the user, in the first process.
        show: Takes each report, in the first process.

    Returns:
        The reports; of several, None for one that was done before.

    Raises:
        InputError: as `evaluate`.
        LostError: another process has gone.
    """
    settings = jobs[0][0].settings
    with joined(settings.device) as (ranks, place):
        spoken = say if ranks.first else _silent
        filler = model if isinstance(model, Filler | Model) else load(model)
        loaded = filler.model if isinstance(filler, Filler) else filler
        placed = replace(loaded, network=loaded.network.to(place))
        check_used([asked.protocol for asked, _ in jobs], jobs[0][0].weights)
        if jobs[0][0].weights.fetch:
            protocols = [asked.protocol for asked, _ in jobs]
            ranks.first_does(lambda: fetch_missing(protocols, jobs[0][0].weights, spoken))
        ready = [
            (ranks.all_do(partial(prepare, placed, asked, spoken), patient=True), output)
            for asked, output in jobs
        ]
        for job, output in ready:
            ranks.first_does(partial(_check_output, job, output))
        return [
            _carried_out(job, output, ranks, spoken, show, several=len(jobs) > 1)
            for job, output in ready
        ]


def _carried_out(
    job: Job,
    output: Output,
    ranks: Ranks,
    say: Say,
    show: Callable[[Report], None],
    *,
    several: bool,
) -> Report | None:
    """Do the work of an evaluation in all processes, and write its report in the first."""
    with ExitStack() as held:
        named, copy = _targets(output.out)
        folder = named or Path(ranks.first_does(lambda: held.enter_context(TemporaryDirectory())))
        parts, request = Parts(folder), job.request | {"keep": output.keep}
        if not ranks.first_does(lambda: parts.begin(request, pass_over=several)):
            say(f"{folder} is done already")
            return None
        protocol = job.protocol
        say(f"{protocol.name}: {protocol.summary or 'your own'}, {protocol.row[:80]}")
        ranks.all_do(lambda: _work(job, parts, ranks, say, keep=output.keep), patient=True)

        def finish() -> Report:
            report = _report(job, parts, ranks, output, request)
            if output.out is not None:
                _write(report, job, parts, copy, say)
            show(report)
            if output.out is not None:
                say(f"report, curves and contact sheets: {folder}")
            return report

        return ranks.first_does(finish)


def _work(job: Job, parts: Parts, ranks: Ranks, say: Say, *, keep: bool) -> None:
    """Do this process's share of the units that are not done yet, and say how far it is."""
    units = job.work.units
    own = [number for number in range(len(units)) if number % ranks.count == ranks.rank]
    shown, told = job.work.settings.progress and ranks.first, time.monotonic()
    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("scoring", total=len(own))
        for place, number in enumerate(own):
            if not shown and time.monotonic() - told > SILENCE:
                say(f"{place} of {len(own)} parts are done")
                told = time.monotonic()
            if not parts.has(number):
                started = time.perf_counter()
                try:
                    arrays, held, filled = job.work.done(units[number])
                except torch.OutOfMemoryError as error:
                    raise InputError(
                        f"{len(units[number])} clips with {job.protocol.trajectories} trajectories "
                        f"don't fit into memory: fill fewer than {job.work.settings.batch} at "
                        "once with --batch"
                    ) from error
                if keep:
                    _keep(parts.folder / FRAMES, number, held.truth, filled)
                took = (time.perf_counter() - started) / filled.shape[0] / filled.shape[1]
                parts.write(number, arrays | {"seconds": np.full(len(filled), took)})
            bar.advance(task)


def _keep(
    folder: Path,
    number: int,
    truth: Shaped[np.ndarray, "n f h w c"],
    filled: Shaped[np.ndarray, "n k f h w c"],
) -> None:
    with replacing(folder / f"{number:07}.npz", overwrite=True) as draft:
        np.savez_compressed(draft, truth=truth, filled=filled)


def _report(
    job: Job, parts: Parts, ranks: Ranks, output: Output, request: dict[str, Any]
) -> Report:
    units = len(job.work.units)
    results = results_of(parts, units, job.protocol, job.work.selection.clips)
    seconds = np.concatenate(list(parts.read(units, "seconds"))).mean()
    made = made_now(job.work.model.device, ranks.count, output.command)
    return Report(
        protocol=job.protocol,
        marks=job.marks,
        left_out=job.networks.left_out,
        results=results,
        method=output.name,
        walk=job.walk,
        request=request,
        made=made | {"data": job.origin, "seconds_per_filled_clip": float(seconds)},
    )


def _write(report: Report, job: Job, parts: Parts, copy: Path | None, say: Say) -> None:
    """Write everything; the report comes last."""
    folder = parts.folder
    verdicts = "".join(f"- {sentence}\n" for sentence in report.verdicts)
    write_text(folder / TABLE, f"{report.markdown()}\n\n{verdicts}")
    write_text(folder / CLIPS, _csv(report, job, parts))
    save_sheets(folder, job.work, report.results.per_clip)
    try:
        save_plots(folder, report.protocol, report.results)
    except InputError as error:
        say(f"no curves: {error}")
    parts.finish(report.data())
    if copy is not None:
        with replacing(copy, overwrite=False) as draft:
            write_json(draft, report.data())


def _csv(report: Report, job: Job, parts: Parts) -> str:
    """Return one line for each clip: where it is from, and scores of its trajectories."""
    digests = np.concatenate(list(parts.read(len(job.work.units), "digest")))
    values = report.results.per_clip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}_{k}" for name in values for k in range(report.results.trajectories)]
    writer.writerow(["clip", "video", "first_frame", "sha256", *columns])
    for number, digest in enumerate(digests):
        cells = [repr(float(value)) for each in values.values() for value in each[number]]
        origin = job.work.selection.origin(number)
        writer.writerow([number, *origin, digest.tobytes().hex(), *cells])
    return text.getvalue()


def _check_output(job: Job, output: Output) -> None:
    """Refuse an evaluation of which nothing would come, and a report in another's place.

    Raises:
        InputError: says what is lacking.
    """
    _targets(output.out)
    if job.protocol.from_nothing and not job.work.measures.backbones and not output.keep:
        why = "; ".join(f"{score}: {why}" for score, why in job.networks.left_out.items())
        raise InputError(
            f"{job.protocol.name} has no known frames, so videos can only be scored as a set, and "
            f"no such score is to be had ({why}); or only --keep what is filled"
        )


def _targets(out: Path | str | None) -> tuple[Path | None, Path | None]:
    """Return the folder of an evaluation, and where else its report goes.

    Raises:
        InputError: the report would replace a file.
    """
    if out is None or Path(out).suffix.lower() != ".json":
        return (None if out is None else Path(out)), None
    report = Path(out)
    if report.exists():
        raise InputError(f"{report} exists: choose another name for --out")
    return report.with_suffix(""), report


def _silent(line: str) -> None:
    """Say nothing."""
