"""Conditions of videos that are to be filled, as the network is told them."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from framefill.conditions import Condition, in_model_range
from framefill.errors import InputError, suggestion
from framefill.model_config import ModelConfig


def conditions_for(
    config: ModelConfig, given: Mapping[str, Shaped[np.ndarray, "..."]], frames: int
) -> dict[str, Float[Tensor, "..."]]:
    """Return the conditions of videos in model range; see `framefill.model.Model.given`.

    Raises:
        InputError: the model knows no such condition, one that was never hidden in training is not
            given, or has another size.
    """
    known = {each.name: each for each in config.conditions}
    for name in given:
        if name not in known:
            there = ", ".join(known) or "none"
            raise InputError(
                f"no condition {name!r}{suggestion(name, known)}; the model knows {there}"
            )
    told = {}
    for name, condition in known.items():
        if name in given:
            value = _checked(condition, _numbers(given[name], name), config, frames)
            told[name] = in_model_range(condition, torch.from_numpy(value))
        elif not condition.dropout:
            raise InputError(
                f"the model was never without {name!r} in training (dropout 0): give it, "
                f"conditions={{{name!r}: ...}}"
            )
    return told


def _numbers(value: Shaped[np.ndarray, "..."], name: str) -> Shaped[np.ndarray, "..."]:
    try:
        numbers = np.asarray(value, np.float32)
    except (ValueError, TypeError) as error:
        raise InputError(f"condition {name!r} holds no numbers: give an array of floats") from error
    if np.isinf(numbers).any():
        raise InputError(f"condition {name!r} holds infinite values: NaN means unknown")
    return numbers


def _checked(
    condition: Condition, value: Shaped[np.ndarray, "..."], config: ModelConfig, frames: int
) -> Shaped[np.ndarray, "b ..."]:
    """Return a condition with the axis b and as many frames as the video."""
    axes = {"vector": 2, "map": 4, "static": 3}[condition.kind]
    if value.ndim == 1 and condition.kind == "vector" and condition.size == 1:
        value = value[:, None]
    batch = value if value.ndim == axes + 1 else value[None]
    size = (config.height, config.width)
    wanted = {
        "vector": (frames, condition.size),
        "map": (frames, *size, condition.size),
        "static": (*size, condition.size),
    }[condition.kind]
    shape = batch.shape[1:]
    if condition.kind != "static" and shape[1:] == wanted[1:] and shape[0] < frames:
        rest = np.full((len(batch), frames - shape[0], *shape[1:]), np.nan, np.float32)
        return np.concatenate([batch, rest], axis=1)
    if shape != wanted:
        raise InputError(
            f"condition {condition.name!r} has shape {value.shape} and the video needs {wanted}: "
            f"a {condition.kind} of {condition.size}" + (", one for each frame" * (axes != 3))
        )
    return batch
