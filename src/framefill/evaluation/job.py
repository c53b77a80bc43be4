"""An evaluation before the work: everything that could stand in its way is looked at."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from framefill.comparison import ssim_convention
from framefill.config import Clips, DataConfig
from framefill.data.digits import DigitsConfig
from framefill.data.own import Dataset, OwnClips, OwnConfig
from framefill.data.selection import Selection
from framefill.data.videos import Fit, VideosConfig
from framefill.device import precision_on
from framefill.errors import InputError
from framefill.evaluation.marks import carried_out, check_enough, marks, walk_of
from framefill.evaluation.measures import Measures, digest_of
from framefill.evaluation.provenance import request_of
from framefill.evaluation.sources import data_of
from framefill.evaluation.weights import Networks, WeightFiles, load_networks, ssim_of
from framefill.evaluation.work import Work
from framefill.metrics.frames import SSIM_SQUARE, SSIM_WINDOW
from framefill.metrics.scores import SsimConvention
from framefill.model import Model
from framefill.model_config import ModelConfig
from framefill.protocols.protocol import Protocol
from framefill.settings import Settings

Say = Callable[[str], None]
Source = Path | str | DataConfig | Dataset | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What the user asks for; see `framefill.evaluation.run.evaluate`.

    Args:
        protocol: What is scored and how.
        source: Where the model is from, if that is known.
        data: Where the clips are from.
        clips: Number of clips, if another than the protocol says.
        samples: Trajectories of each, likewise.
        fit: How videos of another size are converted.
        weights: Files of the networks that some scores need.
        settings: How clips are filled.
        at_most: Take all clips that there are, where they are fewer than the protocol says.
    """

    protocol: Protocol
    source: Path | None
    data: Source
    clips: int | None
    samples: int | None
    fit: Fit
    weights: WeightFiles
    settings: Settings
    at_most: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """An evaluation that nothing stands in the way of.

    Attributes:
        protocol: As it is carried out.
        marks: What of it is not as the protocol of that name says.
        walk: The sampler in a few words.
        work: What is to be done.
        networks: What it is done with.
        request: All that decides the results.
        origin: Where the clips lie, and how they were found: what decides nothing.
    """

    protocol: Protocol
    marks: list[str]
    walk: str
    work: Work
    networks: Networks
    request: dict[str, Any]
    origin: dict[str, str]


def prepare(model: Model, asked: Asked, say: Say) -> Job:
    """Check everything before the work, and say what will be missing.

    Args:
        model: On the device to compute on.
        asked: What the user asks for.
        say: Takes messages for the user.

    Raises:
        InputError: as `framefill.evaluation.run.evaluate`.
    """
    settings, config = asked.settings, model.config
    if settings.conditions is not None:
        raise InputError("conditions are those of the held-out clips: leave them out of settings")
    protocol, sampler = carried_out(
        asked.protocol, clips=asked.clips, samples=asked.samples, settings=settings, model=model
    )
    sampler.walk(config.diffusion.schedule)  # refuses steps that it can't take
    settings = replace(
        settings, samples=protocol.trajectories, sampler=sampler, steps=None, repeats=None
    )
    windows = model.plan(protocol.row, advance=settings.advance, slide=settings.slide)
    data, clips = _clips(protocol, asked, model)
    selection = Selection(clips, protocol.clips, protocol.order, protocol.start)
    called = asked.protocol
    if asked.at_most and 0 < selection.distinct < protocol.clips:
        protocol, called = (replace(each, clips=selection.distinct) for each in (protocol, called))
        selection = replace(selection, clips=protocol.clips)
    check_enough(protocol, selection, asked=asked.clips is not None)
    networks = load_networks(protocol, asked.weights, channels=config.channels, device=model.device)
    ssim = ssim_of(protocol, ssim_convention(config, data))
    if why := ssim and _no_ssim(ssim, config):
        networks.left_out["ssim"] = why
        ssim = None
    for score, why in networks.left_out.items():
        say(f"{score} is left out: {why}")
    precision = precision_on(model.device, settings.precision)
    measures = Measures(
        protocol=protocol,
        low=config.normaliser.low,
        high=config.normaliser.high,
        ssim=ssim,
        lpips=networks.lpips,
        backbones=networks.backbones,
        whole=config.normaliser.dtype != "float32",
    )
    return Job(
        protocol=protocol,
        marks=marks(called, protocol, data, model, selection, sampler, networks.files),
        walk=walk_of(sampler, model, settings, str(precision).removeprefix("torch.")),
        work=Work(model, windows, selection, settings, measures),
        networks=networks,
        request=request_of(protocol, data, model, settings, networks.files)
        | {
            "clips": {
                str(n): digest_of(selection.clip(n)["frames"]).tobytes().hex()
                for n in sorted({0, protocol.clips - 1})
            }
        },
        origin={
            "path": str(getattr(data, "path", None) or ""),
            "note": getattr(clips, "note", ""),
        },
    )


def _no_ssim(convention: SsimConvention, config: ModelConfig) -> str:
    """Return why SSIM can't be computed of a model's frames; nothing if it can."""
    least = SSIM_SQUARE if convention == "squares" else SSIM_WINDOW
    if min(config.height, config.width) < least:
        return f"it is of frames of {least} pixels a side or more"
    if convention in ("grey_bytes", "binary_bytes") and config.channels not in (1, 3):
        return f"that of pictures is of 1 or 3 channels, not {config.channels}"
    return ""


def _clips(protocol: Protocol, asked: Asked, model: Model) -> tuple[DataConfig, Clips]:
    """Return the held-out clips, and where they are from.

    Raises:
        InputError: they can't be had, or are not of the model's size.
    """
    frames, seed, source, config = len(protocol.row), asked.settings.seed, asked.data, model.config
    if source is None or isinstance(source, str | Path):
        folder = None if source is None else Path(source)
        data = data_of(protocol, asked.source, folder, config, fit=asked.fit)
        clips = data.clips(frames=frames, split="test", seed=seed)
    elif isinstance(source, DigitsConfig | VideosConfig | OwnConfig):
        data, clips = source, source.clips(frames=frames, split="test", seed=seed)
    else:
        data, classes = OwnConfig.of(source), config.network_classes
        clips = OwnClips(
            source, config=data, frames=frames, split="test", seed=seed, classes=classes
        )
    size, own = ((each.height, each.width, each.channels) for each in (data, config))
    if size != own:
        shown, takes = (" x ".join(map(str, each)) for each in (size, own))
        raise InputError(
            f"{protocol.name} has frames of {shown} and the model takes {takes}: give another "
            "model, or the run folder of one that was trained on reduced frames and knows its data"
        )
    return data, clips
