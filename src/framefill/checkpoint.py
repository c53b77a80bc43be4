"""Checkpoints of a run: everything that an exact resume needs, written whole or not at all."""

import pickle
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.model import load_weights
from framefill.serialise import read_json, write_json
from framefill.training import TrainState

NETWORK, AVERAGE = "network.safetensors", "average.safetensors"
OPTIMIZER, STATE = "optimizer.pt", "state.json"


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
        _save_weights(draft / NETWORK, state.network)
        _save_weights(draft / AVERAGE, state.average)
        torch.save(state.optimizer.state_dict(), draft / OPTIMIZER)
        write_json(draft / STATE, {"step": state.step})
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def load_checkpoint(path: Path, state: TrainState) -> None:
    """Bring a state to where a checkpoint was.

    Raises:
        InputError: the checkpoint is damaged, or of another network.
    """
    try:
        optimizer = torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
        step = read_json(path / STATE)["step"]
        load_weights(state.network, path / NETWORK)
        load_weights(state.average, path / AVERAGE)
        state.optimizer.load_state_dict(optimizer)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path} is damaged: {reason}") from error
    state.step = step


def resume(folder: Path, state: TrainState) -> list[str]:
    """Bring a state to the newest checkpoint that can be read, if there is any.

    Returns:
        One line for each newer checkpoint that had to be passed over.
    """
    passed = []
    for path in reversed(checkpoints(folder)):
        try:
            load_checkpoint(path, state)
        except InputError as error:
            passed.append(str(error))
        else:
            break
    return passed


def _save_weights(path: Path, network: nn.Module) -> None:
    weights = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    save_file(weights, path)
