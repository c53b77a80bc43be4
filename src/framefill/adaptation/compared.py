"""Which settings two models may not differ in, if the weights of one are to start the other."""

from typing import NamedTuple

from framefill.adaptation.blends import blocks
from framefill.errors import InputError
from framefill.model_config import ModelConfig
from framefill.nn.config import Mcvd3dConfig
from framefill.serialise import flattened, to_data

FREE = {
    "network.classes",
    "network.class_dropout",
    "network.dropout",
    "diffusion.keep_noise",
    "diffusion.limits",
    *(f"diffusion.schedule.{name}" for name in ("spacing", "mean", "std")),
    *(f"diffusion.schedule.{name}" for name in ("lowest", "highest", "rho")),
}  # change neither the shape of a weight nor what it is told: training and sampling alone


class Difference(NamedTuple):
    """A setting that differs, and its values as JSON."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name}: {self.old} -> {self.new}"


def refuse_others(new: ModelConfig, old: ModelConfig) -> None:
    """Refuse configurations of which the old weights are no start.

    Raises:
        InputError: the kind of network, its sizes or what its output means differ, or the clips of
            one that has a size for each of their frames.
    """
    fixed = [each for each in differences(new, old) if not is_free(each)]
    if kinds := [each for each in fixed if each.name.endswith(".type")]:
        fixed = kinds[:1]  # of another kind, all settings are others
    if not fixed and isinstance(new.network, Mcvd3dConfig):
        fixed = list(_clips_of_volumes(new, old, spatin=new.network.hidden > 0))
    if fixed:
        raise InputError(
            f"{'; '.join(map(str, fixed))}: the model's weights are no start for that; keep the "
            "model's values there"
        )


def differences(new: ModelConfig, old: ModelConfig) -> list[Difference]:
    """Return what differs in network and diffusion."""
    right, left = _settings(new), _settings(old)
    return [
        Difference(name, left.get(name, "nothing"), right.get(name, "nothing"))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]


def is_free(difference: Difference) -> bool:
    """Say whether weights go on as they are where this differs.

    RaMViD's network may halve clips of another length over time, but not begin or cease to.
    """
    if difference.name == "network.shrink_frames":
        return "0" not in (difference.old, difference.new)
    return difference.name in FREE


def _clips_of_volumes(new: ModelConfig, old: ModelConfig, *, spatin: bool) -> list[Difference]:
    """MCVD's 3-D networks have as many features as target frames (SPATIN), or frames at all."""
    parts = ("past", "target", "future")
    return [
        Difference(f"masks.{part}", str(before), str(after))
        for part, before, after in zip(parts, blocks(old.masks), blocks(new.masks), strict=True)
        if before != after and (part == "target" or not spatin)
    ]


def _settings(config: ModelConfig) -> dict[str, str]:
    data = to_data(config)
    return flattened({name: data[name] for name in ("network", "diffusion")})
