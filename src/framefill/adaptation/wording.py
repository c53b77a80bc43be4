"""What an adaptation changes, in words."""

from collections.abc import Iterator

from framefill.adaptation.blends import Blocks, blocks, recolors
from framefill.adaptation.compared import differences, is_free
from framefill.conditions import Condition
from framefill.model_config import ModelConfig
from framefill.nn.config import SpaceTimeConfig, VolumeConfig
from framefill.normalise import Normaliser


def changes(new: ModelConfig, old: ModelConfig) -> Iterator[str]:
    """Say in one line each what changes, and what becomes of the weights."""
    if (new.height, new.width) != (old.height, old.width):
        yield (
            f"frames of {new.height} x {new.width} pixels instead of {old.height} x {old.width}: "
            "no weight depends on their size"
        )
    if new.channels != old.channels:
        yield _channels(new.channels, old.channels)
    yield from _clips(new, old)
    if new.network_classes != old.network_classes or new.classes != old.classes:
        yield _classes(new, old)
    yield from _conditions(new.conditions, old.conditions)
    yield from _scale(new.normaliser, old.normaliser)
    for each in differences(new, old):
        if is_free(each) and each.name != "network.classes":
            yield f"{each}: no weight depends on it"


def _channels(new: int, old: int) -> str:
    what = f"frames with {counted(new, 'channel')} instead of {old}: "
    if recolors(new, old):
        if new == 1:
            return what + "gray is read as equal colors and written as their mean"
        return what + "colors share the weights of gray, of which each writes the same at first"
    if new < old:
        return what + f"the first {new} keep their weights, those of the others go"
    return what + (
        f"the first {old} keep their weights; the others are not read at first, and are written as "
        "the mean of these"
    )


def _clips(new: ModelConfig, old: ModelConfig) -> Iterator[str]:
    if new.masks == old.masks:
        return
    if isinstance(new.network, VolumeConfig | SpaceTimeConfig):
        if new.masks.frames == old.masks.frames:
            yield "other masks: the network takes any, no weight depends on them"
        else:
            yield (
                f"clips of {counted(new.masks.frames, 'frame')} instead of {old.masks.frames}: no "
                "weight depends on their length"
            )
    elif blocks(new.masks) == blocks(old.masks):
        yield "other masks of the same blocks: no weight depends on them"
    else:
        yield _blocks(blocks(new.masks), blocks(old.masks))


def _blocks(new: Blocks, old: Blocks) -> str:
    names = ("past", "target", "future")
    now = ", ".join(f"{name} {length}" for name, length in zip(names, new, strict=True))
    before = ", ".join(map(str, old))
    line = f"clips with {now} instead of {before}: frames keep the weights of their place beside "
    line += "the target block"
    if any(after > length for after, length in zip(new, old, strict=True)):
        line += ", new ones are not read at first"
    if new[1] > old[1]:
        line += ", further targets are written as the last one"
    if any(after < length for after, length in zip(new, old, strict=True)):
        line += ", the weights of places that are gone go"
    return line


def _classes(new: ModelConfig, old: ModelConfig) -> str:
    what = f"{counted(new.network_classes, 'class', 'classes')} instead of {old.network_classes}: "
    if new.network_classes == old.network_classes:
        what = "other names of classes: "
    if not new.network_classes:
        return what + "the network goes on as without a label"
    if not old.network_classes:
        return what + "they change nothing at first"
    return what + (
        "those of the same name, or number where there is none, keep their weights; new ones start "
        "as the mean"
    )


def _conditions(new: tuple[Condition, ...], old: tuple[Condition, ...]) -> Iterator[str]:
    before, now = ({(c.name, c.kind == "vector"): c for c in each} for each in (old, new))
    for key, condition in before.items():
        if key not in now:
            yield f"condition {condition.name!r} goes: the network goes on as where it is unknown"
    for key, condition in now.items():
        if key not in before:
            yield f"condition {condition.name!r} is new: it is not read at first"
            continue
        last, name = before[key], f"condition {condition.name!r}"
        if condition.size != last.size:
            yield (
                f"{name} of size {condition.size} instead of {last.size}: the first values keep "
                "their weights, others are not read at first"
            )
        if condition.kind != last.kind:
            yield f"{name} of kind {condition.kind} instead of {last.kind}: its weights stay"
        if (condition.offset, condition.scale) != (last.offset, last.scale):
            yield f"{name}: the network saw it scaled otherwise"


def _scale(new: Normaliser, old: Normaliser) -> Iterator[str]:
    scales = [(each.offset, each.scale, each.transform) for each in (new, old)]
    if scales[0] != scales[1]:
        yield "another normaliser: the network saw data scaled otherwise"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "frame"), counted(2, "frame")
    ('1 frame', '2 frames')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
