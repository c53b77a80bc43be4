"""MCVD's checkpoints: files of the official code to models, and back.

A checkpoint is a list: state of the network, state of Adam, epoch, step, and, if the weights were
averaged, the average.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor, nn

from framefill.convert.mcvd import mcvd_weights, official_weights
from framefill.convert.mcvd_config import model_config, official_config
from framefill.errors import InputError
from framefill.files import replacing, write_text
from framefill.model import Model
from framefill.model_config import ModelConfig
from framefill.nn.denoisers import BlockDenoiser
from framefill.pickles import check_weights_by_name, load_pickle
from framefill.schedule import TableSchedule

Weights = Literal["average", "last"]
CONFIG_NAME, MAX_CONFIG_BYTES = "config.yml", 1_000_000
BAD_YAML = (  # the last ones are for scalars that are tagged as what they are not
    *(yaml.YAMLError, UnicodeDecodeError, RecursionError),
    *(ValueError, LookupError, TypeError, AttributeError),
)


def from_mcvd(
    checkpoint: Path, config: Path | None = None, *, weights: Weights = "average"
) -> Model:
    """Read an official checkpoint.

    Args:
        checkpoint: `checkpoint_*.pt`; nothing in it is executed.
        config: Its `config.yml`; None: the one beside it.
        weights: The moving average, with which the paper's scores were made, or the last weights.

    Raises:
        InputError: a file is missing or no such file, the config asks for what can't be done, or
            the weights are not those that it describes; the message names the first of them.
    """
    config = config or checkpoint.with_name(CONFIG_NAME)
    ours = model_config(read_config(config))
    states = _states(checkpoint)
    parameters = _parameters(states, weights, checkpoint)
    with torch.device("meta"):
        blueprint = ours.build()
    try:
        converted = mcvd_weights(_blocks(blueprint), parameters)
    except InputError as error:
        raise InputError(f"{checkpoint} is not what {config} describes: {error}") from None
    network = ours.build()
    network.load_state_dict(converted)
    step = states[3] if len(states) > 3 and isinstance(states[3], int) else None
    return Model(network.eval(), ours, _card(ours, checkpoint, weights, step))


def to_mcvd(model: Model, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as an official checkpoint, with its config.yml beside it.

    Its weights stand for the last ones and their average alike. Adam's state is that of a fresh
    start.

    Args:
        model: A model with MCVD's network.
        out: The file, `checkpoint_STEP.pt`.
        overwrite: Replace files that are there already.

    Returns:
        The files written.

    Raises:
        InputError: the official code has no such model, or a file exists already.
    """
    official = official_config(model.config)
    config = out.with_name(CONFIG_NAME)
    if out.suffix != ".pt":
        raise InputError(f"{out} is no name for a checkpoint: choose one that ends in .pt")
    if config.exists() and not overwrite:
        raise InputError(f"{config} exists: choose another folder for --out or pass --overwrite")
    average = {
        name: value.detach().cpu()
        for name, value in official_weights(_blocks(model.network)).items()
    }
    state = {f"module.{name}": value for name, value in (_buffers(model) | average).items()}
    fresh = torch.optim.Adam([torch.zeros(1) for _ in average], lr=official["optim"]["lr"])
    with replacing(out, overwrite=overwrite) as draft:
        torch.save([state, fresh.state_dict(), 0, 0, average], draft)
    write_text(config, yaml.safe_dump(official, sort_keys=False))
    return [out, config]


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a config.yml.

    Raises:
        InputError: it can't be read, is too long, or is no YAML of settings.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InputError(f"{path} is too large for a config: give MCVD's config.yml")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}): give the checkpoint's config.yml with "
            "--config-yml"
        ) from error
    except BAD_YAML as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} is no YAML: {reason}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no settings: give MCVD's config.yml")
    return data


def _states(checkpoint: Path) -> list[Any]:
    states = load_pickle(checkpoint, "an official checkpoint, checkpoint_*.pt")
    if not isinstance(states, list) or not states or not isinstance(states[0], dict):
        raise InputError(f"{checkpoint} is no list of states: is it a checkpoint of MCVD?")
    return states


def _parameters(states: list[Any], weights: Weights, checkpoint: Path) -> dict[str, Tensor]:
    if weights == "average" and (len(states) < 5 or not isinstance(states[4], dict)):
        raise InputError(f"{checkpoint} holds no averaged weights: pass --weights last")
    parameters = states[4] if weights == "average" else states[0]
    return check_weights_by_name(parameters, checkpoint, "an official checkpoint")


def _blocks(network: nn.Module) -> BlockDenoiser:
    if not isinstance(network, BlockDenoiser):
        raise InputError("only networks like MCVD's have an official form")
    return network


def _buffers(model: Model) -> dict[str, Tensor]:
    """Return the noise levels as the official network stores them, noisiest first."""
    schedule = model.config.diffusion.schedule
    if not isinstance(schedule, TableSchedule):
        raise InputError("only tables of noise levels have an official form")
    alphas = schedule.alpha_squared.flip(0)
    betas = 1 - alphas[:-1] / alphas[1:]
    named = {"betas": betas, "alphas": alphas[:-1], "alphas_prev": alphas[1:], "unet.sigmas": betas}
    return {name: value.float() for name, value in named.items()}


def _card(config: ModelConfig, checkpoint: Path, weights: Weights, step: int | None) -> str:
    kind = "moving average" if weights == "average" else "last"
    return f"""# {checkpoint.stem.encode(errors="replace").decode()}

Converted from an official MCVD checkpoint (mcvd-pytorch), {kind} weights.

- File: `{checkpoint.name.encode(errors="replace").decode()}`
- Steps trained: {"unknown" if step is None else f"{step:,}"}
- Frames: {config.height} x {config.width}, {config.channels} channel(s)
- Masks: `{config.masks}`
- Sampler: `{config.sampler}`; `as_published` keeps the official walk, with its faults
"""
