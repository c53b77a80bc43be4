"""Snapshots of a run's power-function averages, and averages of other widths made of them.

SNAPSHOTS/STEP/width-WIDTH.safetensors, one file for each width, in float32 whatever the training
computes in: an average of another width is a sum of many snapshots, some of them taken away, in
which the rounding of a 16-bit type would be larger than what tells one width from the next.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from framefill.data.video import first_line
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.optim_config import WIDTHS
from framefill.posthoc import coefficients, power_of, residual
from framefill.weights import check_weights, save_tensors

STEP = re.compile(r"[0-9]{8,15}")
FILE = re.compile(r"width-(0\.[0-9]{1,20})\.safetensors")
NEGLIGIBLE = 1e-9  # a coefficient: float32 resolves a hundredth of a millionth
Layout = dict[str, tuple[str, list[int]]]


@dataclass(frozen=True)
class Snapshot:
    """One power-function average at one step.

    Args:
        step: Steps taken, from 1.
        width: Of the average.
        path: Its file.
    """

    step: int
    width: float
    path: Path


@dataclass(frozen=True)
class Reconstruction:
    """An average that was made of snapshots.

    Args:
        weights: By name, float32 on the CPU; entries that are no floats as they were at that step.
        step: Steps taken, from 1.
        residual: Part of the average's profile that the snapshots don't have (`posthoc.residual`).
        used: Number of snapshots that it is made of.
    """

    weights: dict[str, Tensor]
    step: int
    residual: float
    used: int


def save_snapshot(folder: Path, step: int, averages: Mapping[float, Mapping[str, Tensor]]) -> Path:
    """Write the averages of a step; one that was written before is replaced.

    Args:
        folder: The run's folder of snapshots.
        step: Steps taken, from 1.
        averages: Weights by width, each by name.

    Returns:
        The step's folder, which appears whole or not at all.

    Raises:
        InputError: a width or the step is out of range, or the folder can't be written.
    """
    if step < 1 or not averages:
        raise InputError(f"step {step} with {len(averages)} averages: needs at least 1 of each")
    for width in averages:
        power_of(width)
    path = folder / f"{step:08d}"
    with atomic_folder(path, overwrite=True) as draft:
        for width, weights in averages.items():
            stored = {
                name: (value.float() if value.is_floating_point() else value)
                .detach()
                .cpu()
                .contiguous()
                for name, value in weights.items()
            }
            save_tensors(draft / f"width-{width}.safetensors", stored, _label(step, width))
    return path


def snapshots(folder: Path) -> list[Snapshot]:
    """Return the snapshots of a run, by step and width.

    What else lies there is passed over: drafts, folders of other names, links.

    Raises:
        InputError: the folder can't be read.
    """
    try:
        return [
            Snapshot(int(place.name), float(named[1]), file)
            for place in _places(folder)
            for file in sorted(place.iterdir())
            if (named := FILE.fullmatch(file.name))
            and WIDTHS[0] <= float(named[1]) <= WIDTHS[1]
            and file.is_file()
            and not file.is_symlink()
        ]
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error.strerror}") from error


def forget_after(folder: Path, step: int) -> None:
    """Put aside the snapshots after a step, for a run that goes on from there.

    Nothing is deleted: their folders become NAME.superseded, which `snapshots` passes over.

    Raises:
        InputError: a folder can't be read or renamed.
    """
    try:
        for place in _places(folder):
            if int(place.name) > step:
                place.rename(_free(place.with_name(f"{place.name}.superseded")))
    except OSError as error:
        raise InputError(
            f"snapshots after step {step} in {folder} can't be renamed: {error.strerror}"
        ) from error


def reconstructed(
    folder: Path, *, width: float, step: int | None = None, network: nn.Module | None = None
) -> Reconstruction:
    """Return the average of any width, made of snapshots; one tensor of them is read at a time.

    Args:
        folder: The run's folder of snapshots.
        width: Of the average.
        step: One of which there are snapshots; None: the newest. Between two such steps nothing
            tells what the weights did after the former.
        network: The weights must be this network's, which may be on the meta device; None: any.

    Raises:
        InputError: there are no snapshots, the width or step can't be had of them, or a file is
            damaged or differs from the others in what it holds.
    """
    power_of(width)
    found = snapshots(folder)
    at = _known_step(folder, found, step)
    found = [each for each in found if each.step <= at]
    of = [(each.step, each.width) for each in found]
    by = coefficients(of, at, width)
    by[abs(by) < NEGLIGIBLE] = 0
    used = [(each, float(by[place])) for place, each in enumerate(found) if by[place]]
    _check_layouts([each for each, _ in used], network)
    return Reconstruction(_summed(used), at, residual(of, by, at, width), len(used))


def _places(folder: Path) -> list[Path]:
    """Return the folders of steps, in their order."""
    if not folder.is_dir():
        return []
    return sorted(
        (
            path
            for path in folder.iterdir()
            if STEP.fullmatch(path.name)
            and path.name == f"{int(path.name):08d}" != f"{0:08d}"
            and path.is_dir()
            and not path.is_symlink()
        ),
        key=lambda path: int(path.name),
    )


def _free(path: Path) -> Path:
    taken, count = path, 1
    while taken.exists():
        count += 1
        taken = path.with_name(f"{path.name}-{count}")
    return taken


def _known_step(folder: Path, found: Sequence[Snapshot], step: int | None) -> int:
    """Return a step of which there are snapshots."""
    if not found:
        raise InputError(
            f"{folder} holds no snapshots: train with --optim.ema-widths 0.05 0.1 "
            "--log.snapshot-every N"
        )
    steps = sorted({each.step for each in found})
    if step is None:
        return steps[-1]
    if step < steps[0]:
        raise InputError(f"step {step} is before the first snapshot, of step {steps[0]}")
    if step > steps[-1]:
        raise InputError(f"step {step} is after the last snapshot, of step {steps[-1]}")
    if step not in steps:
        before = max(each for each in steps if each < step)
        after = min(each for each in steps if each > step)
        raise InputError(f"no snapshot of step {step}: give {before} or {after}, the nearest")
    return step


def _label(step: int, width: float) -> dict[str, str]:
    return {"step": str(step), "width": str(width)}


def _check_layouts(used: Sequence[Snapshot], network: nn.Module | None) -> None:
    """Refuse snapshots that can't be added up; of each only the header is read."""
    if network is not None:
        check_weights(network, used[0].path)
    first = _layout(used[0])
    for snapshot in used[1:]:
        layout = _layout(snapshot)
        if layout == first:
            continue
        different = {name for name in first.keys() | layout if first.get(name) != layout.get(name)}
        raise InputError(
            f"{snapshot.path} and {used[0].path} are of different networks: they differ in "
            f"{min(different)} and {len(different) - 1} more"
        )


def _layout(snapshot: Snapshot) -> Layout:
    """Return type and shape of what a snapshot holds."""
    path = snapshot.path
    try:
        with safe_open(path, framework="pt") as file:
            label = file.metadata() or {}
            parts = {name: file.get_slice(name) for name in set(file.keys())}
            layout = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, first_line(error)) from error
    if label != _label(snapshot.step, snapshot.width):
        raise InputError(
            f"{path} says that it is of step {label.get('step')} and width {label.get('width')}: "
            "it was moved or renamed; put it back, or move it away to go on without it"
        )
    return layout


def _summed(used: Sequence[tuple[Snapshot, float]]) -> dict[str, Tensor]:
    """Return the weighted sum of snapshots, in float64 as some of them are taken away."""
    total: dict[str, Tensor] = {}
    for snapshot, share in used:
        try:
            with safe_open(snapshot.path, framework="pt") as file:
                for name in sorted(file.keys()):
                    _add(total, name, file.get_tensor(name), share)
        except (OSError, SafetensorError, _NoNumbersError) as error:
            raise _damaged(snapshot.path, first_line(error)) from error
    for name, value in total.items():  # one by one, so that both types are never there of all
        total[name] = value.float() if value.is_floating_point() else value
    return total


def _add(total: dict[str, Tensor], name: str, value: Tensor, share: float) -> None:
    if not value.is_floating_point():
        total[name] = value.clone()  # the newest are read last
        return
    if not value.isfinite().all():
        raise _NoNumbersError(f"{name} has values that are no numbers")
    if name not in total:
        total[name] = torch.zeros(value.shape, dtype=torch.float64)
    total[name].add_(value.double(), alpha=share)


class _NoNumbersError(Exception):
    """A tensor holds NaN or infinity."""


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged ({reason}): move it away to go on without it")
