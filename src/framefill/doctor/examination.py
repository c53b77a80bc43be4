"""Looking at data, and at what a recipe would make of it."""

import math
from collections.abc import Callable
from pathlib import Path

from framefill.data.examine import Look, examine, gather
from framefill.data.sheet import save_sheet
from framefill.device import choose_device
from framefill.doctor.advice import advised, commands
from framefill.doctor.asked import Asked
from framefill.doctor.diagnosis import diagnose
from framefill.doctor.looks import prepared, sheet_rows
from framefill.doctor.overfit import overfit_clip
from framefill.doctor.report import COLORS, Finding, Report, as_data
from framefill.doctor.speed import judge_speed, measure_speed
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.serialise import write_json


def doctor(
    asked: Asked,
    *,
    out: Path,
    full: bool = False,
    overfit: bool = False,
    minutes: float = 3.0,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Look at data, and at what a recipe would make of it.

    Nothing that is wrong with the data raises an error: it is what the report is about.

    Args:
        asked: The data and the recipe.
        out: New folder for report.json and sheet.png.
        full: Read all frames of all videos instead of a sample.
        overfit: Train on a single clip, to see whether it can be learned.
        minutes: That this may take.
        device: "auto", "cpu", "cuda" or "mps".
        say: Takes messages for the user.

    Raises:
        InputError: the path holds no videos, `out` exists, the recipe makes its own data, or
            there is no such device.
    """
    if out.exists():
        raise InputError(f"{out} exists: choose another folder for --out")
    if not 0 < minutes < math.inf:
        raise InputError(f"minutes {minutes} must be above 0")
    place = choose_device(device)
    look = Look(videos=None, frames=None, seconds=None) if full else Look()
    say("opening the videos")
    gathered = gather(asked.videos)
    say("looking at their frames")
    facts = examine(gathered, asked.videos, look)
    findings = diagnose(facts, asked)
    config, more = advised(asked, findings)
    findings += more
    speed = fit = None
    with atomic_folder(out) as draft:
        try:
            ready, clips = prepared(config, gathered, look)
            save_sheet(draft / "sheet.png", sheet_rows(ready, clips))
            say("measuring how fast clips are read and steps are taken")
            speed = measure_speed(ready, clips, place)
            findings += judge_speed(speed, asked, config)
            if overfit and math.isfinite(speed.step_seconds):
                say(f"training on a single clip for {minutes:g} minutes")
                fit = overfit_clip(ready, clips, speed, minutes, place)
        except InputError as error:
            findings.append(Finding(subject="training", weight="stops", text=str(error)))
        config, _ = advised(asked, findings)
        findings.sort(key=lambda each: list(COLORS).index(each.weight))
        report = Report(
            facts=facts,
            findings=findings,
            speed=speed,
            overfit=fit,
            commands=commands(asked, config, findings),
            config=config,
        )
        write_json(draft / "report.json", as_data(report))
    return report
