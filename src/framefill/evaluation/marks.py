"""What of an evaluation is not as its protocol says, in words that go into every row."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from framefill.config import DataConfig
from framefill.data.digits import DigitsConfig
from framefill.data.selection import Selection
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.evaluation.sources import is_benchmark
from framefill.metrics.backbones.files import WeightFile
from framefill.model import Model
from framefill.model_config import SamplerConfig
from framefill.protocols.protocol import Protocol
from framefill.protocols.registry import PROTOCOLS
from framefill.sampling import Ddpm
from framefill.settings import SAMPLERS, Settings

WORDED = ("name", "summary", "source", "clips", "trajectories", "sampler", "steps", "digits")
REFERENCE = {"i3d": ("i3d_torchscript.pt", "i3d_pretrained_400.pt")}  # of published distances


def carried_out(
    protocol: Protocol, *, clips: int | None, samples: int | None, settings: Settings, model: Model
) -> tuple[Protocol, SamplerConfig]:
    """Return a protocol with what the user has asked for instead, and the sampler to use.

    The sampler is the model's own where it is of the kind that is asked for: so a converted
    checkpoint walks as published, and variances and the like stay the model's.

    Args:
        protocol: As it is called.
        clips: Number of clips; None: as it says.
        samples: Trajectories of each; None: as it says.
        settings: Whose sampler, steps and repeats take the place of its own, where they are set.
        model: That is evaluated.

    Raises:
        InputError: the protocol has a sampler that there isn't.
    """
    sampler = _sampler(protocol, model, settings)
    return (
        replace(
            protocol,
            clips=protocol.clips if clips is None else clips,
            trajectories=protocol.trajectories if samples is None else samples,
            sampler=_word(sampler),
            steps=_steps(sampler),
        ),
        sampler,
    )


def check_enough(protocol: Protocol, selection: Selection, *, asked: bool) -> None:
    """Refuse data that has fewer clips or videos than a protocol is made on.

    Args:
        protocol: As it is carried out.
        selection: Of its clips.
        asked: The user has asked for that number of clips, so fewer videos are known of.

    Raises:
        InputError: says how many there are.
    """
    if selection.distinct < protocol.clips:
        raise InputError(
            f"{protocol.name} takes {protocol.clips} different clips, and the test data has "
            f"{selection.distinct}: ask for so many with --clips {selection.distinct}, and every "
            "row says so"
        )
    named = PROTOCOLS.get(protocol.name, protocol)
    if not asked and protocol.clips == named.clips and selection.videos < protocol.videos:
        raise InputError(
            f"{protocol.name} is of {protocol.videos} test videos or more, and the data has "
            f"{selection.videos}: add the rest, or say with --clips {protocol.clips} that these "
            "will do, and every row says so"
        )


def marks(
    called: Protocol,
    done: Protocol,
    data: DataConfig,
    model: Model,
    selection: Selection,
    sampler: SamplerConfig,
    files: Mapping[str, WeightFile],
) -> list[str]:
    """Return what of an evaluation is not as the protocol says; nothing: all is.

    Args:
        called: As the user has called it; under a published name the published one counts.
        done: As it is carried out.
        data: Where the clips come from.
        model: Whose frames decide the size.
        selection: The clips.
        sampler: Of the walk.
        files: Of weights that scores are computed with.
    """
    named = PROTOCOLS.get(called.name, called)
    found = []
    if done.clips != named.clips:
        found.append(f"{done.clips} of {named.clips} clips")
    if done.trajectories != named.trajectories:
        found.append(f"{done.trajectories} instead of {named.trajectories} trajectories")
    if named.videos and selection.videos < named.videos:
        found.append(f"{selection.videos} of {named.videos} test videos")
    found += _other_frames(named, model)
    found += _other_data(named, data, model, selection)
    if named.sampler or named.steps:
        meant = _word(sampler) if not named.sampler else named.sampler, named.steps
        steps = meant[1] or _steps(SAMPLERS[meant[0]])
        if (_word(sampler), _steps(sampler)) != (meant[0], steps) or _repeats(sampler) > 1:
            found.append(f"{describe(sampler)} instead of {meant[0]} of {steps} steps")
    for field in fields(Protocol):
        before, now = getattr(named, field.name), getattr(done, field.name)
        if field.name not in WORDED and before != now:
            found.append(f"{field.name} {now!r} instead of {before!r}")
    return [*found, *_other_networks(files)]


def describe(sampler: SamplerConfig) -> str:
    """Return a sampler and its steps in a few words.

    >>> describe(SAMPLERS["ddpm"])
    'ddpm of 100 steps'
    """
    words = f"{_word(sampler)} of {_steps(sampler)} steps"
    if (repeats := _repeats(sampler)) > 1:
        words += f" x {repeats}"
    return words + ", as published" * getattr(sampler, "as_published", False)


def walk_of(sampler: SamplerConfig, model: Model, settings: Settings, precision: str) -> str:
    """Return how clips are filled, in a few words: all that moves scores, where it is set."""
    guidance = model.config.guidance if settings.guidance is None else settings.guidance
    said = {
        "guidance": "" if guidance == 1 else f"{guidance:g}",
        "advance": settings.advance,
        "slide": settings.slide,
        "label": settings.label,
        "seed": settings.seed or "",
    }
    words = [f"{name} {value}" for name, value in said.items() if value not in (None, "")]
    return ", ".join([describe(sampler), *words, *[precision][: precision != "float32"]])


def _sampler(protocol: Protocol, model: Model, settings: Settings) -> SamplerConfig:
    if settings.sampler is not None and not isinstance(settings.sampler, str):
        return settings.sampler_for(model)
    word = settings.sampler or protocol.sampler
    if word and word not in SAMPLERS:
        raise InputError(
            f"protocol {protocol.name} has sampler {word!r}: use {', '.join(SAMPLERS)}"
        )
    own = model.config.sampler
    chosen = own if not word or isinstance(own, type(SAMPLERS[word])) else SAMPLERS[word]
    steps = settings.steps
    if steps is None and settings.sampler is None:
        steps = protocol.steps or None
    return replace(settings, sampler=chosen, steps=steps).sampler_for(model)


def _word(sampler: SamplerConfig) -> str:
    return next(word for word, each in SAMPLERS.items() if type(each) is type(sampler))


def _steps(sampler: SamplerConfig) -> int:
    return sampler.steps if isinstance(sampler.steps, int) else sum(sampler.steps)


def _repeats(sampler: SamplerConfig) -> int:
    return sampler.repeats if isinstance(sampler, Ddpm) else 1


def _other_frames(named: Protocol, model: Model) -> list[str]:
    size = (model.config.height, model.config.width, model.config.channels)
    meant = tuple(
        asked or has
        for asked, has in zip((named.height, named.width, named.channels), size, strict=True)
    )
    shown, wanted = (" x ".join(map(str, each)) for each in (size, meant))
    return [] if size == meant else [f"frames of {shown} instead of {wanted}"]


def _other_data(named: Protocol, data: DataConfig, model: Model, selection: Selection) -> list[str]:
    """Say what of the data is not that of a published protocol; others are of any data."""
    if not named.benchmark:
        return []
    if not is_benchmark(named, data):
        return [f"data not recognised as {named.benchmark}"]
    if isinstance(data, DigitsConfig) and named.digits is not None:
        meant = replace(named.digits, path=data.path)
        return [
            f"{field.name} {getattr(data, field.name)} of the digits instead of "
            f"{getattr(meant, field.name)}"
            for field in fields(DigitsConfig)
            if getattr(data, field.name) != getattr(meant, field.name)
        ]
    if not isinstance(data, VideosConfig):
        return []
    values = {"split": (data.split, named.split), "every": (data.every, 1), "fps": (data.fps, 0.0)}
    values |= {"short": (data.short, "leave_out"), "variables": (data.variables, ())}
    size = (data.height, data.width, data.channels)
    if any(each.shape != size for each in getattr(selection.source, "footage", ())):
        values |= {"fit": (data.fit, named.fit), "resize": (data.resize, named.filter)}
    found = [
        f"{name} {now!r} of the data instead of {before!r}"
        for name, (now, before) in values.items()
        if now != before
    ]
    told = [*(each.name for each in model.config.conditions), *["class"][: bool(data.classes)]]
    return found + [f"told the {name} of each clip" for name in told]


def _other_networks(files: Mapping[str, WeightFile]) -> list[str]:
    """Say which networks are not those of published scores."""
    found = []
    for kind, file in files.items():
        if not file.known:
            found.append(f"{kind} of unknown weights ({file.sha256[:8]})")
        elif file.known not in REFERENCE.get(kind, (file.known,)):
            found.append(f"{kind} of {Path(file.known).name}")
    return [*found, *["LPIPS of VGG"][: "vgg" in files]]
