"""Checkpoints of a run: everything that an exact resume needs, written whole or not at all.

A checkpoint holds whole tensors, however the weights were divided among processes, so any number
of processes can go on from it. torch's own format for divided ones has a pickle in it that can't
be read safely, and no reader but torch.
"""

import hashlib
import json
import math
import pickle
import secrets
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.files import atomic_folder, set_aside
from framefill.serialise import from_data, read_json, write_json
from framefill.training import TrainState
from framefill.training.guard import Guard
from framefill.training.spread import is_divided, like, load_whole, whole, whole_state
from framefill.weights import check_weights, save_tensors

NETWORK, AVERAGE = "network.safetensors", "average.safetensors"
MORE, WIDTH = "average-{rate}.safetensors", "average-width-{width}.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")
OPTIMIZER, STATE, HISTORY = "optimizer.pt", "state.json", "history.safetensors"
DAMAGES = (
    OSError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)


@dataclass(frozen=True)
class Resumed:
    """What became of going on.

    Args:
        passed: One line for each damaged checkpoint that was passed over.
        ranks: Number of processes that wrote the checkpoint; 0: there is none.
    """

    passed: tuple[str, ...] = ()
    ranks: int = 0


def save_checkpoint(folder: Path, state: TrainState) -> Path:
    """Write the checkpoint of a state; every process has to call it, and the first one writes.

    Args:
        folder: The run's folder of checkpoints.
        state: What to save.

    Returns:
        The checkpoint's folder, named after its step.

    Raises:
        InputError: it can't be written; what was there is as it was.
    """
    path = folder / f"{state.step:08d}"
    files = _files(state)
    if is_divided(state.network):
        # All comes together before the first process writes: were the disk full, the others would
        # wait for it in the midst of a tensor.
        files = iter(list(files))
    state.ranks.first_does(lambda: _write(path, state, files))
    return path


def _write(path: Path, state: TrainState, files: Iterator[tuple[str, dict[str, Any]]]) -> None:
    with atomic_folder(path, overwrite=True) as draft:
        for name, tensors in files:
            if name == OPTIMIZER:
                with (draft / name).open("wb") as file:
                    torch.save(tensors, file)
            else:
                save_tensors(draft / name, tensors)
        sums = {file.name: _sum(file) for file in sorted(draft.iterdir())}
        written = {
            "step": state.step,
            "ranks": state.ranks.count,
            "guard": asdict(state.guard),
            "scaler": state.scaler.state_dict(),
            "sums": sums,
        }
        write_json(draft / STATE, {**written, "sum": _sum_of(written)})


def _files(state: TrainState) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is written, on the first process; the others help to put it together."""
    keep = state.ranks.first
    for name, network in _networks(state):
        yield name, whole_state(network, keep)
    if state.history is not None:
        yield HISTORY, state.history.state()
    yield OPTIMIZER, _whole_optimizer(state, keep)


def _whole_optimizer(state: TrainState, keep: bool) -> dict[str, Any]:
    found = state.optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for number, values in found["state"].items():
        for name, value in values.items():
            together = whole(value)
            if keep:
                moments.setdefault(number, {})[name] = together.cpu()
    return {**found, "state": moments}


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name))


def prune(folder: Path, *, keep: int, best: Collection[int]) -> None:
    """Remove all checkpoints but the newest ones and the best.

    Nothing is removed unless the newest one reads back as it was written.

    Args:
        folder: The run's folder of checkpoints.
        keep: How many of the newest are kept.
        best: Steps of others that are kept.

    Raises:
        InputError: the newest one is damaged; nothing was removed.
    """
    found = checkpoints(folder)
    old = [path for path in found[:-keep] if int(path.name) not in best]
    if not old:
        return
    check_sums(found[-1])
    for path in old:
        # Half removed, it must not look like a damaged one: as a draft it goes with the next start.
        going = path.rename(path.with_name(f".{path.name}-{secrets.token_hex(4)}"))
        rmtree(going)


def check_sums(path: Path) -> dict[str, Any]:
    """Refuse a checkpoint whose files are not as they were written.

    Returns:
        What its state.json says.

    Raises:
        InputError: a file is missing, cut short or altered.
    """
    try:
        said = read_json(path / STATE)
        if said.keys() & {"sum", "sums"} and said.pop("sum", "") != _sum_of(said):
            raise ValueError(f"{STATE} is altered")
        for name, expected in said.get("sums", {}).items():
            if _sum(path / Path(name).name) != expected:
                raise ValueError(f"{name} is cut short or altered")
        if type(said["step"]) is not int or said["step"] != int(path.name):
            raise ValueError(f"it is of step {said['step']}")
        from_data(said.get("guard", {}), Guard, source=STATE)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"checkpoint {path} is damaged: {error}") from error
    return dict(said)


def load_checkpoint(path: Path, state: TrainState) -> int:
    """Bring a state to where a checkpoint was, or leave it as it is.

    Returns:
        The number of processes that wrote it.

    Raises:
        InputError: the checkpoint is damaged, or of another network.
    """
    said = check_sums(path)
    try:
        optimizer = torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
        for name, network in _networks(state):
            check_weights(network, path / name)
        history = None if state.history is None else load_file(path / HISTORY)
        if state.history is not None and history is not None:
            state.history.check(history)
        guard = from_data(said.get("guard", {}), Guard, source=str(path / STATE))
        scaler = _checked_scaler(said.get("scaler"), state)
        before = state.optimizer.state_dict()
        try:
            state.optimizer.load_state_dict(_divided_optimizer(optimizer, state))
        except DAMAGES:
            state.optimizer.load_state_dict(before)
            raise
    except DAMAGES as error:
        # What torch says of a damaged pickle ends in advice to load it without care.
        reason = str(error) if isinstance(error, ValueError) else "a file is cut short or altered"
        raise InputError(f"checkpoint {path} is damaged: {reason}") from error
    for name, network in _networks(state):
        load_whole(network, load_file(path / name))
    if state.history is not None and history is not None:
        state.history.load(history)
    if scaler:
        state.scaler.load_state_dict(scaler)
    state.step, state.guard = said["step"], guard
    return int(said.get("ranks", 1))


def _divided_optimizer(optimizer: dict[str, Any], state: TrainState) -> dict[str, Any]:
    """Return a state of the optimiser, divided as the weights are.

    Raises:
        ValueError: it is of other weights; AdamW would write beyond their memory.
    """
    weights, moments = list(state.network.parameters()), {}
    for number, values in optimizer["state"].items():
        shape = weights[number].shape
        if set(values) != {"step", *MOMENTS} or any(
            value.shape != (() if name == "step" else shape) for name, value in values.items()
        ):
            raise ValueError(f"{OPTIMIZER} is of other weights")
        placed = {
            name: like(values[name].float().clone().contiguous(), weights[number])
            for name in MOMENTS
        }
        moments[number] = {"step": values["step"].float(), **placed}
    # Its rates and the like are the config's, not the file's.
    return {"state": moments, "param_groups": state.optimizer.state_dict()["param_groups"]}


def _checked_scaler(said: object, state: TrainState) -> dict[str, Any]:
    """Return the state of the scaler, or nothing where there is none.

    Raises:
        ValueError: its scale is no factor.
    """
    if not state.scaler.is_enabled() or not isinstance(said, dict) or not said:
        return {}
    known = state.scaler.state_dict()
    scale, steps = float(said["scale"]), int(said["_growth_tracker"])
    if not 0 < scale < math.inf or steps < 0:
        raise ValueError(f"its scale {scale} is no factor")
    return {**known, "scale": scale, "_growth_tracker": steps}


def resume(folder: Path, state: TrainState, *, steady: bool = False) -> Resumed:
    """Bring a state to the newest checkpoint that can be read, if there is any.

    Damaged ones are renamed to NAME.damaged, so that none of them counts as the newest later.
    Every process has to call it.

    Args:
        folder: The run's folder of checkpoints.
        state: Of a run of the same config.
        steady: Pass over those that were written amid bad steps, too.

    Raises:
        InputError: there are checkpoints, but none can be read.
    """
    passed, newest = state.ranks.first_does(lambda: _newest(folder, steady))
    if newest is None:
        return Resumed()
    try:
        return Resumed(passed, load_checkpoint(newest, state))
    except InputError as error:
        if not state.ranks.alone:
            raise
        # Its sums are right, or it is too old to have any.
        _set_aside(newest, len(checkpoints(folder)) == 1, str(error))
        older = resume(folder, state, steady=steady)
        return Resumed((*passed, str(error), *older.passed), older.ranks)


def _newest(folder: Path, steady: bool) -> tuple[tuple[str, ...], Path | None]:
    """Return what was passed over, and the newest checkpoint whose files are whole."""
    damaged: list[tuple[Path, str]] = []
    found = None
    for path in reversed(checkpoints(folder)):
        try:
            said = check_sums(path)
        except InputError as error:
            damaged.append((path, str(error)))
            continue
        if not steady or not said.get("guard", {}).get("streak"):
            found = path
            break
    if damaged and found is None:
        raise InputError(_hopeless(damaged[0][1]))
    for path, reason in damaged:
        _set_aside(path, False, reason)
    return tuple(reason for _, reason in damaged), found


def _set_aside(path: Path, only: bool, reason: str) -> None:
    if only:
        raise InputError(_hopeless(reason))
    set_aside(path, "damaged")


def _hopeless(reason: str) -> str:
    return f"{reason}; no older one can be read: start anew in another folder"


def _networks(state: TrainState) -> list[tuple[str, nn.Module]]:
    more = [(MORE.format(rate=rate), average) for rate, average in state.more.items()]
    widths = [(WIDTH.format(width=width), each) for width, each in state.widths.items()]
    return [(NETWORK, state.network), (AVERAGE, state.average), *more, *widths]


def _sum_of(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
