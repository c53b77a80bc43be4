"""What of an evaluation is not as its protocol says, in words that go into every row."""

from dataclasses import fields, replace

from framefill.config import DataConfig
from framefill.data.digits import DigitsConfig
from framefill.data.selection import Selection
from framefill.errors import InputError
from framefill.evaluation.sources import is_benchmark
from framefill.model import Model
from framefill.model_config import SamplerConfig
from framefill.protocols.protocol import Protocol
from framefill.protocols.registry import PROTOCOLS
from framefill.settings import SAMPLERS, Settings

WORDED = ("name", "summary", "source", "clips", "trajectories", "sampler", "steps", "digits")


def carried_out(
    protocol: Protocol, *, clips: int | None, samples: int | None, settings: Settings
) -> Protocol:
    """Return a protocol with what the user has asked for instead.

    Args:
        protocol: As it is called.
        clips: Number of clips; None: as it says.
        samples: Trajectories of each; None: as it says.
        settings: Whose sampler and steps take the place of its own, where they are set.
    """
    changed = replace(
        protocol,
        clips=protocol.clips if clips is None else clips,
        trajectories=protocol.trajectories if samples is None else samples,
    )
    if settings.sampler is not None:
        word = next((w for w, each in SAMPLERS.items() if _is_kind(settings.sampler, each)), "own")
        changed = replace(changed, sampler=word, steps=settings.steps or 0)
    elif settings.steps is not None:
        changed = replace(changed, steps=settings.steps)
    return changed


def sampler_of(protocol: Protocol, model: Model, settings: Settings) -> SamplerConfig:
    """Return the sampler of a protocol for a model: the model's own where it is of that kind.

    So a converted checkpoint walks as published, and variances and the like stay the model's.

    Raises:
        InputError: the protocol has a sampler that there isn't.
    """
    asked = settings.sampler
    if asked is not None and not isinstance(asked, str):
        return settings.sampler_for(model)
    word = asked or protocol.sampler
    if word and word not in SAMPLERS:
        raise InputError(
            f"protocol {protocol.name} has sampler {word!r}: use {', '.join(SAMPLERS)}"
        )
    own = model.config.sampler
    chosen = own if not word or isinstance(own, type(SAMPLERS[word])) else SAMPLERS[word]
    steps = settings.steps or protocol.steps or None
    return replace(settings, sampler=chosen, steps=steps).sampler_for(model)


def check_enough(protocol: Protocol, selection: Selection, *, asked: bool) -> None:
    """Refuse data that has fewer clips or videos than a protocol is made on.

    Args:
        protocol: As it is carried out.
        selection: Of its clips.
        asked: The user has asked for that number of clips, so fewer videos are known of.

    Raises:
        InputError: says how many there are.
    """
    if selection.windows < protocol.clips:
        raise InputError(
            f"{protocol.name} takes {protocol.clips} different clips, and the test data has "
            f"{selection.windows}: ask for them with --clips {selection.windows}; every row then "
            "says so"
        )
    if not asked and selection.videos < protocol.videos:
        raise InputError(
            f"{protocol.name} is of {protocol.videos} test videos or more, and the data has "
            f"{selection.videos}: add the rest, or say with --clips {protocol.clips} that these "
            "will do; every row then says so"
        )


def marks(
    protocol: Protocol, data: DataConfig, model: Model, selection: Selection, sampler: SamplerConfig
) -> list[str]:
    """Return what of an evaluation is not as the protocol of that name says; nothing: all is.

    Args:
        protocol: As it is carried out.
        data: Where the clips come from.
        model: Whose frames decide the size.
        selection: The clips.
        sampler: Of the walk.
    """
    named = PROTOCOLS.get(protocol.name, protocol)
    found = []
    if protocol.clips != named.clips:
        found.append(f"{protocol.clips} of {named.clips} clips")
    if protocol.trajectories != named.trajectories:
        found.append(f"{protocol.trajectories} instead of {named.trajectories} trajectories")
    if named.videos and selection.videos < named.videos:
        found.append(f"{selection.videos} of {named.videos} test videos")
    found += _other_data(named, data, model)
    if wanted := SAMPLERS.get(named.sampler):
        steps = named.steps or getattr(wanted, "steps", 0)
        if not _is_kind(sampler, wanted) or sampler.steps != steps:
            found.append(f"{describe(sampler)} instead of {named.sampler} of {steps} steps")
    for field in fields(Protocol):
        before, now = getattr(named, field.name), getattr(protocol, field.name)
        if field.name not in WORDED and before != now:
            found.append(f"{field.name} {now!r} instead of {before!r}")
    return found


def describe(sampler: SamplerConfig) -> str:
    """Return a sampler and its steps in a few words.

    >>> describe(SAMPLERS["ddpm"])
    'ddpm of 100 steps'
    """
    word = next((name for name, each in SAMPLERS.items() if _is_kind(sampler, each)), "own")
    steps = sampler.steps if isinstance(sampler.steps, int) else len(sampler.steps)
    return f"{word} of {steps} steps" + ", as published" * getattr(sampler, "as_published", False)


def _other_data(named: Protocol, data: DataConfig, model: Model) -> list[str]:
    found = []
    config = model.config
    size = (config.height, config.width, config.channels)
    wanted = tuple(
        asked or has
        for asked, has in zip((named.height, named.width, named.channels), size, strict=True)
    )
    if size != wanted:
        shown, meant = (" x ".join(map(str, each)) for each in (size, wanted))
        found.append(f"frames of {shown} instead of {meant}")
    if isinstance(data, DigitsConfig) and named.digits is not None:
        plain = replace(data, path=None, size=named.digits.size, glyph=named.digits.glyph)
        if (
            plain != named.digits
            or data.glyph * named.digits.size != named.digits.glyph * data.size
        ):
            found.append(
                f"digits of {data.glyph} pixels, at most {data.speed} per frame, {data.bounce}"
            )
    elif not is_benchmark(named, data):
        found.append(f"data not recognised as {named.benchmark}")
    return found


def _is_kind(sampler: object, known: SamplerConfig) -> bool:
    """Say whether a sampler, or the word for one, is of the kind of another."""
    found = SAMPLERS.get(sampler, sampler) if isinstance(sampler, str) else sampler
    return type(found) is type(known)
