"""What the doctor found."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from framefill.config import Config
from framefill.data.examine import Facts

Weight = Literal["stops", "harms", "note"]
Value = bool | int | float | str | tuple[str, ...]
Verdict = Literal["learned", "too few steps", "not learned", "nothing moves"]
COLORS: Mapping[Weight, str] = {"stops": "bold red", "harms": "yellow", "note": "dim"}
MEANINGS: Mapping[Weight, str] = {
    "stops": "training would refuse this",
    "harms": "training runs, and learns less",
    "note": "good to know",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the user should know.

    Args:
        subject: What it is about, in one word.
        weight: "stops": training would refuse; "harms": it would learn less; "note": neither.
        text: In words.
        settings: What to change in the recipe's settings, by flag without dashes.
        unfit: Files to be taken out.
    """

    subject: str
    weight: Weight
    text: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast clips are read and used.

    Args:
        device: Where steps were taken.
        clips_per_second: That one process reads.
        step_seconds: Of a training step; inf: a batch doesn't fit into the device's memory.
        measured_batch: Clips of the steps that were timed; the rest is in proportion.
        batch: Clips of a step.
    """

    device: str
    clips_per_second: float
    step_seconds: float
    measured_batch: int
    batch: int

    @property
    def needed(self) -> float:
        """Clips per second that training takes."""
        return self.batch / self.step_seconds


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """What became of training on a single clip.

    Args:
        row: Roles of the clip's frames that were filled and scored.
        steps: Steps taken.
        seconds: That they took.
        first_loss: Mean loss of the second quarter of the steps.
        last_loss: Of the last quarter.
        psnr: Of the filled frames, in dB; None: they are exact.
        baselines: PSNR of fillings that need no model, by name; None: exact.
        verdict: "learned", "too few steps", "not learned" or "nothing moves".
    """

    row: str
    steps: int
    seconds: float
    first_loss: float
    last_loss: float
    psnr: float | None
    baselines: dict[str, float | None]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the doctor found.

    Args:
        facts: About the data.
        findings: What to know, the most important first.
        speed: Of reading and training; None: no training clip could be made.
        overfit: Of a single clip, if it was asked for.
        commands: To be pasted, in order.
        config: The settings with all advised changes, before anything is measured.
    """

    facts: Facts
    findings: list[Finding]
    speed: Speed | None
    overfit: Overfit | None
    commands: list[str]
    config: Config


def as_data(report: Report) -> dict[str, object]:
    """Return a report as plain JSON data; numbers that JSON can't hold are null."""
    plain: dict[str, object] = {
        "facts": asdict(report.facts),
        "findings": [asdict(each) for each in report.findings],
        "speed": None if report.speed is None else asdict(report.speed),
        "overfit": None if report.overfit is None else asdict(report.overfit),
        "commands": report.commands,
    }
    text = json.dumps(plain, default=str)
    found: dict[str, object] = json.loads(text, parse_constant=lambda word: None)
    return found
