"""A model under a protocol, from start to end; started by torchrun, in several processes."""

import csv
import io
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
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
from framefill.evaluation.weights import WeightFiles
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


def evaluate(
    model: Filler | Model | Path | str,
    *,
    protocol: Protocol | Path | str,
    source: Path | None = None,
    data: Source = None,
    out: Path | str | None = None,
    clips: int | None = None,
    samples: int | None = None,
    fit: Fit = "none",
    weights: WeightFiles = WeightFiles(),
    settings: Settings = Settings(),
    keep: bool = False,
    name: str = "",
    command: str = "",
    say: Say = lambda line: None,
    show: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Score a model on held-out clips, beside fillings that need no model.

    Started by torchrun, all processes share the work. Killed, it goes on where it was when it is
    called again. The scores depend on neither: a trajectory has a seed of its own, and what is
    computed together is decided by `settings.batch` alone.

    Args:
        model: A model, or where it is (`framefill.load`).
        protocol: What is scored and how, by name (`framefill protocols`) or as a value.
        source: Where a model that is passed as such was loaded from, as a run knows its data.
        data: Folder of the data, or a dataset of the user's own; None: that of the run, or of
            protocols that make their clips themselves.
        out: New folder for report.json, table.md, clips.csv, plots and contact sheets; a name
            that ends in .json is the report's, and the rest goes to a folder beside it. None:
            nothing is kept.
        clips: Number of clips, if another than the protocol says; every row then says so.
        samples: Trajectories of each clip, likewise.
        fit: How videos of another size than the model's are converted; "none": as the run or the
            protocol says.
        weights: Files of the networks that some scores need; without them these are left out,
            which is said before the work.
        settings: How clips are filled; its `samples` are not read.
        keep: Write the true and the filled frames too: frames/NUMBER.npz with `truth` [n f h w c]
            and `filled` [n k f h w c], floats in the user's units.
        name: Of the model, in rows; the name of its folder if nothing.
        command: What the report says that it was made with.
        say: Takes messages for the user, in the first process.
        show: Takes the report, in the first process.

    Raises:
        InputError: the model can't do what the protocol asks for, the data has too few clips and
            nobody asked for fewer, or isn't what the protocol is of; a file of weights is another
            one; or the folder holds something else.
        LostError: another process has gone.
    """
    with joined(settings.device) as (ranks, place), ExitStack() as held:
        spoken = say if ranks.first else _silent
        filler = model if isinstance(model, Filler | Model) else load(model)
        loaded = filler.model if isinstance(filler, Filler) else filler
        source = source if isinstance(model, Filler | Model) else Path(model)
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
        spoken(f"{asked.protocol.name}: {asked.protocol.summary}, {asked.protocol.row[:80]}")
        placed = replace(loaded, network=loaded.network.to(place))
        job = ranks.all_do(lambda: prepare(placed, asked, spoken))
        named, copy = _targets(out)
        folder = named or Path(ranks.first_does(lambda: held.enter_context(TemporaryDirectory())))
        parts = Parts(folder)
        ranks.first_does(lambda: parts.begin(job.request))
        ranks.all_do(lambda: _work(job, parts, ranks, keep=keep), patient=True)
        title = name or (source.name if source is not None else "model")
        made = made_now(place, ranks.count, command)

        def finish() -> Report:
            report = _report(job, parts, title, made)
            if out is not None:
                _write(report, job, parts, copy, spoken)
            show(report)
            if out is not None:
                say(f"report, curves and contact sheets: {folder}")
            return report

        return ranks.first_does(finish)


def _work(job: Job, parts: Parts, ranks: Ranks, *, keep: bool) -> None:
    """Do this process's share of the units that are not done yet."""
    units = job.work.units
    own = [number for number in range(len(units)) if number % ranks.count == ranks.rank]
    shown = job.work.settings.progress and ranks.first
    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("scoring", total=len(own))
        for number in own:
            if not parts.has(number):
                started = time.perf_counter()
                arrays, held, filled = job.work.done(units[number])
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


def _report(job: Job, parts: Parts, title: str, made: dict[str, Any]) -> Report:
    units = len(job.work.units)
    results = results_of(parts, units, job.protocol, job.work.selection.clips)
    seconds = np.concatenate(list(parts.read(units, "seconds"))).mean()
    return Report(
        protocol=job.protocol,
        marks=job.marks,
        left_out=job.networks.left_out,
        results=results,
        method=title,
        walk=job.walk,
        request=job.request,
        made=made | {"seconds_per_filled_clip": float(seconds)},
    )


def _write(report: Report, job: Job, parts: Parts, copy: Path | None, say: Say) -> None:
    """Write everything; the report comes last."""
    folder = parts.folder
    write_text(folder / TABLE, report.markdown() + "\n")
    write_text(folder / CLIPS, _csv(report, parts, len(job.work.units)))
    save_sheets(folder, job.work, report.results.per_clip)
    try:
        save_plots(folder, report.protocol, report.results)
    except InputError as error:
        say(f"no curves: {error}")
    if copy is not None:
        with replacing(copy, overwrite=False) as draft:
            write_json(draft, report.data())
    parts.finish(report.data())


def _csv(report: Report, parts: Parts, units: int) -> str:
    """Return one line for each clip: its number, its digest, and scores of its trajectories."""
    digests = np.concatenate(list(parts.read(units, "digest")))
    values = report.results.per_clip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}_{k}" for name in values for k in range(report.results.trajectories)]
    writer.writerow(["clip", "sha256", *columns])
    for number, digest in enumerate(digests):
        cells = [repr(float(value)) for each in values.values() for value in each[number]]
        writer.writerow([number, digest.tobytes().hex(), *cells])
    return text.getvalue()


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
