"""A trained model: a network, what its output means, and all that is needed to use it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Generator, nn

from framefill.completion import complete
from framefill.device import autocast
from framefill.errors import InputError
from framefill.files import atomic_folder, replacing, write_text
from framefill.gaps import valid_in
from framefill.given import conditions_for
from framefill.guidance import Guided
from framefill.model_config import ModelConfig, SamplerConfig
from framefill.nn.config import VolumeConfig
from framefill.nn.denoisers import telling
from framefill.planning import plan, tasks
from framefill.rollout import rollout
from framefill.serialise import from_data, read_json, to_data, write_json
from framefill.sliding import slide as slide_along
from framefill.told import Told
from framefill.types import Clip, Roles
from framefill.weights import check_weights, load_weights, save_tensors
from framefill.windows import Window

FORMAT_VERSION = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


@dataclass(frozen=True)
class Model:
    """A network with its configuration.

    Args:
        network: In evaluation mode.
        config: Everything else.
        card: The model card (Markdown): data, protocol, scores.
        told: What the network is told of the clips or videos to be filled: classes, and conditions
            of every frame.
    """

    network: nn.Module
    config: ModelConfig
    card: str = ""
    told: Told = field(default_factory=Told)

    def complete(
        self,
        clip: Clip,
        roles: Roles,
        generators: Sequence[Generator],
        *,
        sampler: SamplerConfig | None = None,
        guidance: float | None = None,
        precision: str = "float32",
        told: Told | None = None,
    ) -> Clip:
        """Fill the TARGET frames of clips of the model's length.

        Args:
            clip: In model range; its KNOWN frames are read.
            roles: What each frame is to the model.
            generators: One per clip, on the CPU.
            sampler: How to walk down the noise levels; None: the model's own.
            guidance: Scale of the history guidance; None: the model's own.
            precision: Of the network's arithmetic.
            told: What the network is told of the clips; None: what the model was given.
        """
        scale = self.config.guidance if guidance is None else guidance
        network = telling(self.network, self.told if told is None else told)
        denoiser = network if scale == 1 else Guided(network, scale)
        with autocast(clip.device, precision):
            return complete(
                denoiser,
                self.config.diffusion,
                clip,
                roles,
                sampler or self.config.sampler,
                generators,
            )

    def of_class(self, numbers: Sequence[int | None]) -> "Model":
        """Return the model for clips of these classes; without classes, the model itself.

        Args:
            numbers: Of the class of each clip, or one for all of them (`ModelConfig.class_number`).
        """
        if self.config.network_classes == 0:
            return self
        # Without a class it is none, or refused.
        known = [self.config.class_number(None) if n is None else n for n in numbers]
        return replace(self, told=replace(self.told, classes=torch.tensor(known)))

    def given(self, conditions: Mapping[str, Shaped[np.ndarray, "..."]], frames: int) -> "Model":
        """Return the model for videos with these conditions.

        Args:
            conditions: By name, in the user's units: vectors [f k] or [b f k], maps [f h w k] or
                [b f h w k], static maps [h w k] or [b h w k]. NaN, and what is left out, is
                unknown; vectors of fewer frames than the video are those of its first ones.
            frames: Length of the videos.

        Raises:
            InputError: the model knows no such condition, one of its own was never hidden in
                training and isn't given, or has another size.
        """
        told = conditions_for(self.config, conditions, frames)
        return replace(self, told=replace(self.told, conditions=told))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def fill_video(
        self,
        video: Clip,
        windows: Sequence[Window],
        generators: Sequence[Generator],
        *,
        sampler: SamplerConfig | None = None,
        guidance: float | None = None,
        precision: str = "float32",
        after_window: Callable[[], None] = lambda: None,
    ) -> Clip:
        """Fill the targets of videos of any length, window by window.

        Args:
            video: In model range; its KNOWN frames are read, in which NaN is missing.
            windows: Which frames are filled when (`plan`).
            generators: One per video, on the CPU.
            sampler: How to walk down the noise levels; None: the model's own.
            guidance: Scale of the history guidance; None: the model's own.
            precision: Of the network's arithmetic.
            after_window: Called when a window is filled.

        Raises:
            InputError: guidance is asked for, but the model never saw clips without history.
        """
        self._check_guidance(self.config.guidance if guidance is None else guidance, windows)

        video, valid = valid_in(video, windows)
        everything = replace(self.told, valid=valid).to(video.device)

        def fill_window(clip: Clip, roles: Roles, window: Window) -> Clip:
            return self.complete(
                clip,
                roles,
                generators,
                sampler=sampler,
                guidance=guidance,
                precision=precision,
                told=everything.at(window.frames),
            )

        *_, filled = _notified(rollout(fill_window, video, windows), after_window)
        return filled

    @property
    def tasks(self) -> dict[str, int]:
        """The tasks that the model was trained for (`framefill.planning.tasks`)."""
        return tasks(self.config.masks)

    def plan(
        self, row: str, *, advance: int | None = None, slide: int | None = None
    ) -> list[Window]:
        """Plan how to fill a video whose frames have these roles.

        Args:
            row: One letter for each frame.
            advance: Frames kept of each window; None: all.
            slide: Frames given to each window of RaMViD's scheme (`framefill.sliding`); None: as
                the training's masks allow (`framefill.planning`).

        Raises:
            InputError: the model was not trained for such a task, or has no such scheme.
        """
        if slide is None:
            return plan(row, self.config.masks, advance=advance)
        network = self.config.network
        if not isinstance(network, VolumeConfig) or network.shrink_frames:
            raise InputError("slide needs a network for clips of any length: RaMViD's, unshortened")
        if advance is None:
            raise InputError("slide needs advance, the number of new frames in each window")
        return slide_along(row, advance=advance, context=slide)

    def _check_guidance(self, guidance: float, windows: Sequence[Window]) -> None:
        blind = (w.row.replace("K", "-") for w in windows if "K" in w.row)
        if guidance != 1 and not all(self.config.masks.allows(row) for row in blind):
            raise InputError(
                f"guidance {guidance:g} compares with clips whose known frames are absent, which "
                "this model never saw: use guidance 1"
            )

    def save(
        self,
        folder: Path,
        *,
        dtype: Literal["float32", "float16"] = "float32",
        overwrite: bool = False,
    ) -> None:
        """Write a model folder: config.json, model.safetensors, README.md.

        Args:
            folder: Where to; it appears whole or not at all.
            dtype: Type of the stored weights.
            overwrite: Take the place of a model folder that is there already.

        Raises:
            InputError: the folder exists and may not be replaced, or is no model folder.
        """
        if folder.is_dir() and (
            other := {p.name for p in folder.iterdir()} - {CONFIG, WEIGHTS, CARD}
        ):
            raise InputError(f"{folder} holds other files ({min(other)}): choose another name")
        data = {"format_version": FORMAT_VERSION, **to_data(self.config)}
        weights = {
            name: value.detach().cpu().to(getattr(torch, dtype)).contiguous()
            for name, value in self.network.state_dict().items()
        }
        if overwrite and folder.is_dir() and _holds(folder / CONFIG, data):
            # File by file: the folder is a model at every moment, whatever happens.
            with replacing(folder / WEIGHTS, overwrite=True) as file:
                save_tensors(file, weights)
            write_text(folder / CARD, self.card)
            return
        with atomic_folder(folder, overwrite=overwrite) as draft:
            write_json(draft / CONFIG, data)
            save_tensors(draft / WEIGHTS, weights)
            (draft / CARD).write_text(self.card, encoding="utf-8")


def _holds(path: Path, data: dict[str, Any]) -> bool:
    """Say whether a JSON file holds just this."""
    try:
        return bool(read_json(path) == json.loads(json.dumps(data)))
    except InputError:
        return False


def _notified(videos: Iterator[Clip], notify: Callable[[], None]) -> Iterator[Clip]:
    for video in videos:
        notify()
        yield video


def load_config(folder: Path) -> ModelConfig:
    """Read the configuration of a model folder.

    Raises:
        InputError: the folder is no model, or of another version.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} is not a model: it needs {CONFIG} and {WEIGHTS}")
    data = read_json(folder / CONFIG)
    version = data.pop("format_version", None) if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder / CONFIG} has format version {version}, this framefill reads {FORMAT_VERSION}"
        )
    return from_data(data, ModelConfig, source=str(folder / CONFIG))


def load_model(folder: Path) -> Model:
    """Read a model folder; weights of any floating type become float32.

    Raises:
        InputError: something is missing from the folder, or does not belong there.
    """
    config = load_config(folder)
    with torch.device("meta"):
        check_weights(config.build(), folder / WEIGHTS)
    network = config.build()
    load_weights(network, folder / WEIGHTS)
    card = folder / CARD
    return Model(network.eval(), config, card.read_text("utf-8") if card.is_file() else "")
