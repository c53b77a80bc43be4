"""Checkpoints of a run: everything that an exact resume needs, written whole or not at all."""

import pickle
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.model import check_weights, load_weights
from framefill.serialise import read_json, write_json
from framefill.training import TrainState

NETWORK, AVERAGE = "network.safetensors", "average.safetensors"
MORE = "average-{rate}.safetensors"
OPTIMIZER, STATE, HISTORY = "optimizer.pt", "state.json", "history.safetensors"


def save_checkpoint(folder: Path, state: TrainState, *, keep: int) -> Path:
    """Write the checkpoint of a state and remove all but the newest `keep`.

    Args:
        folder: The run's folder of checkpoints.
        state: What to save.
        keep: Number of checkpoints to keep.

    Returns:
        The checkpoint's folder, named after its step.
    """
    path = folder / f"{state.step:08d}"
    with atomic_folder(path, overwrite=True) as draft:
        for name, network in _networks(state):
            _save_weights(draft / name, network)
        if state.history is not None:
            save_file(state.history.state(), draft / HISTORY)
        torch.save(state.optimizer.state_dict(), draft / OPTIMIZER)
        write_json(draft / STATE, {"step": state.step})
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def load_checkpoint(path: Path, state: TrainState) -> None:
    """Bring a state to where a checkpoint was, or leave it as it is.

    Raises:
        InputError: the checkpoint is damaged, or of another network.
    """
    before = state.optimizer.state_dict()
    try:
        optimizer = torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
        step = read_json(path / STATE)["step"]
        if step != int(path.name):
            raise ValueError(f"it is of step {step}")
        for name, network in _networks(state):
            check_weights(network, path / name)
        history = None if state.history is None else load_file(path / HISTORY)
        if state.history is not None and history is not None:
            state.history.check(history)
        state.optimizer.load_state_dict(optimizer)
        for name, network in _networks(state):
            load_weights(network, path / name)
        if state.history is not None and history is not None:
            state.history.load(history)
    except (
        OSError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        state.optimizer.load_state_dict(before)
        # What torch says of a damaged pickle ends in advice to load it without care.
        reason = str(error) if isinstance(error, ValueError) else "a file is cut short or altered"
        raise InputError(f"checkpoint {path} is damaged: {reason}") from error
    state.step = step


def resume(folder: Path, state: TrainState) -> list[str]:
    """Bring a state to the newest checkpoint that can be read, if there is any.

    Damaged ones are renamed to NAME.damaged, so that none of them counts as the newest later.

    Returns:
        One line for each damaged checkpoint.

    Raises:
        InputError: there are checkpoints, but none can be read.
    """
    passed = []
    for path in reversed(checkpoints(folder)):
        try:
            load_checkpoint(path, state)
        except InputError as error:
            passed.append((path, str(error)))
        else:
            break
    if passed and state.step == 0:
        raise InputError(f"{passed[0][1]}; no older one can be read: start anew in another folder")
    for path, _ in passed:
        path.rename(path.with_name(f"{path.name}.damaged"))
    return [reason for _, reason in passed]


def _networks(state: TrainState) -> list[tuple[str, nn.Module]]:
    more = [(MORE.format(rate=rate), average) for rate, average in state.more.items()]
    return [(NETWORK, state.network), (AVERAGE, state.average), *more]


def _save_weights(path: Path, network: nn.Module) -> None:
    weights = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    save_file(weights, path)
