"""RaMViD's files: models of the official code to ours, and back.

The official training writes plain state dicts: the last weights (model000100.pt), their averages
(ema_0.9999_000100.pt) and the state of AdamW (opt000100.pt). What the network means is in the
flags that the scripts were called with.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from framefill.convert.ramvid import official_volume_weights, volume_weights
from framefill.convert.ramvid_config import flags_of, model_config
from framefill.convert.ramvid_flags import Flags, guess_flags, to_text
from framefill.convert.ramvid_shapes import read_shapes
from framefill.errors import InputError
from framefill.files import replacing
from framefill.model import Model
from framefill.model_config import ModelConfig
from framefill.nn.denoisers import VolumeDenoiser
from framefill.pickles import check_weights_by_name, load_pickle

WHAT = "an official file of weights, model*.pt or ema_*.pt"


def from_ramvid(checkpoint: Path, flags: Flags | None = None) -> Model:
    """Read official weights.

    Args:
        checkpoint: `model*.pt` or `ema_*.pt`; nothing in it is executed.
        flags: What the official scripts were called with (`parse_flags`); None: what the shapes
            of the weights tell, and the published values where they are silent.

    Raises:
        InputError: the file can't be read or is no such file, or the weights contradict a flag.
    """
    weights = read_weights(checkpoint)
    flags, config = describe(weights, flags, checkpoint)
    ours = ours_of(config, weights, checkpoint)  # before what they describe is built
    network = config.build()
    network.load_state_dict(ours)
    return Model(network.eval(), config, _card(config, flags, checkpoint))


def describe(
    weights: dict[str, Tensor], flags: Flags | None, checkpoint: Path
) -> tuple[Flags, ModelConfig]:
    """Return the flags, given or guessed, and the configuration of official weights.

    Raises:
        InputError: the weights are no RaMViD's, or contradict a flag.
    """
    try:
        shapes = read_shapes(weights)
        flags = flags or guess_flags(shapes)
        return flags, model_config(flags, shapes)
    except InputError as error:
        raise InputError(f"{checkpoint}: {error}") from None


def ours_of(config: ModelConfig, weights: dict[str, Tensor], checkpoint: Path) -> dict[str, Tensor]:
    """Return official weights, or anything of the same names and shapes, under our names.

    Raises:
        InputError: they are not those of the configuration.
    """
    with torch.device("meta"):
        blueprint = volumes(config.build())
    try:
        return volume_weights(blueprint, weights)
    except InputError as error:
        raise InputError(f"{checkpoint} is not what its shapes promise: {error}") from None


def to_ramvid(model: Model, out: Path, *, overwrite: bool = False) -> str:
    """Write a model's weights as an official file.

    Args:
        model: A model with RaMViD's network.
        out: The file, such as `ema_0.9999_100000.pt`.
        overwrite: Replace a file that is there already.

    Returns:
        The flags with which the official scripts read it.

    Raises:
        InputError: the official code has no such model, or the file exists already.
    """
    text = to_text(flags_of(model.config))
    if out.suffix != ".pt":
        raise InputError(f"{out} is no name for a checkpoint: choose one that ends in .pt")
    with replacing(out, overwrite=overwrite) as draft:
        torch.save(official_volume_weights(volumes(model.network)), draft)
    return text


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Read an official state dict.

    Raises:
        InputError: the file can't be read, or holds something else.
    """
    return check_weights_by_name(load_pickle(checkpoint, WHAT), checkpoint, WHAT)


def volumes(network: nn.Module) -> VolumeDenoiser:
    """Return a network as RaMViD's.

    Raises:
        InputError: it is another one.
    """
    if not isinstance(network, VolumeDenoiser):
        raise InputError("only networks like RaMViD's have an official form")
    return network


def _card(config: ModelConfig, flags: Flags, checkpoint: Path) -> str:
    said = to_text(flags) or "the defaults"
    origin = "as given" if flags.given else "told by the weights, or as published"
    return f"""# {checkpoint.stem.encode(errors="replace").decode()}

Converted from an official RaMViD file.

- File: `{checkpoint.name.encode(errors="replace").decode()}`
- Flags ({origin}): `{said}`
- Frames: {config.height} x {config.width}, {config.channels} channel(s)
- Masks: `{config.masks}`
- Sampler: `{config.sampler}`
"""
