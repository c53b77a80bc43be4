"""How to fill frames: what all of the user's verbs take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

import numpy as np
from jaxtyping import Shaped

from framefill.device import Precision, check_precision
from framefill.errors import InputError, suggestion
from framefill.model import Model
from framefill.model_config import SamplerConfig
from framefill.pndm import Pndm
from framefill.sampling import Ddim, Ddpm, DpmSolver2M

MAX_SAMPLES = 10_000
SamplerName = Literal["ddpm", "ddim", "dpm++", "pndm"]
SAMPLERS: dict[str, SamplerConfig] = {
    "ddpm": Ddpm(),
    "ddim": Ddim(),
    "dpm++": DpmSolver2M(),
    "pndm": Pndm(),
}


class Options(TypedDict, total=False):
    """What every verb takes; the meaning and the defaults are those of `Settings`."""

    samples: int
    sampler: SamplerName | SamplerConfig | None
    steps: int | None
    repeats: int | None
    guidance: float | None
    advance: int | None
    slide: int | None
    label: str | int | None
    conditions: Mapping[str, Shaped[np.ndarray, "..."]] | None
    device: str
    precision: Precision
    seed: int
    batch: int
    progress: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to fill frames.

    Args:
        samples: Different ways to fill them.
        sampler: "ddpm", "ddim", "dpm++", "pndm" or a sampler; None: the model's own.
        steps: Steps of the walk per window; None: the sampler's own.
        repeats: Times that each step of DDPM is taken, noising again in between; None: the
            sampler's own.
        guidance: History guidance, 1 for none; None: the model's own.
        advance: Frames kept of each window, 1 for one frame at a time; None: all.
        slide: Predict as RaMViD's script does, in windows of `advance` new frames after the last
            `slide` ones, however long the clips of the training were; None: as planned.
        label: Class of what is filled, its name or number, for models that have classes.
        conditions: What goes along with the frames, by name, for models that have conditions:
            vectors [f k] or maps [f h w k] of all frames, filled ones too (a robot's actions), or
            static maps [h w k]; NaN where unknown. None: those of the video, where it has any.
        device: "auto", "cpu", "cuda" or "mps".
        precision: Of the network's arithmetic: "auto", "float32" or "bfloat16".
        seed: Of all noise. The same seed gives the same frames, whatever the batch size.
        batch: Samples that are filled at once.
        progress: Show a progress bar.
    """

    samples: int = 1
    sampler: str | SamplerConfig | None = None
    steps: int | None = None
    repeats: int | None = None
    guidance: float | None = None
    advance: int | None = None
    slide: int | None = None
    label: str | int | None = None
    conditions: Mapping[str, Shaped[np.ndarray, "..."]] | None = None
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0
    batch: int = 16
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("samples", "batch"):
            if not 1 <= getattr(self, name) <= MAX_SAMPLES:
                raise InputError(f"{name} {getattr(self, name)} must be in 1..{MAX_SAMPLES}")
        if self.conditions is not None and not isinstance(self.conditions, Mapping):
            raise InputError(
                f"conditions is a {type(self.conditions).__name__}: give a dict of arrays by name"
            )
        if self.seed < 0:
            raise InputError(f"seed {self.seed} must be at least 0")
        if isinstance(self.sampler, str) and self.sampler not in SAMPLERS:
            raise InputError(
                f"no sampler {self.sampler!r}{suggestion(self.sampler, SAMPLERS)}; "
                f"there are: {', '.join(SAMPLERS)}"
            )
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise InputError(f"guidance {self.guidance} must be at least 0; 1 is none")
        check_precision(self.precision)

    def sampler_for(self, model: Model) -> SamplerConfig:
        """Return the sampler to use with a model."""
        chosen = self.sampler or model.config.sampler
        sampler = SAMPLERS[chosen] if isinstance(chosen, str) else chosen
        if self.steps is not None:
            sampler = replace(sampler, steps=self.steps)
        if self.repeats is None:
            return sampler
        if not isinstance(sampler, Ddpm):
            raise InputError(f"repeats {self.repeats} is for sampler 'ddpm', not {sampler}")
        return replace(sampler, repeats=self.repeats)
