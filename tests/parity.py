"""The recordings from the official implementations, and the distance of ours from them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

CARRIED = Path(__file__).parent / "fixtures" / "parity"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "parity"


def recording(name: str) -> Path:
    """Return a folder of recordings, carried with the tests or beside the checkout."""
    for root in (CARRIED, SHARED):
        if (root / name).is_dir():
            return root / name
    pytest.skip(
        f"the recording {name} is too large to carry with the tests, and {SHARED} is absent"
    )


def tensors(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return {key: _parse(value) for key, value in (file.metadata() or {}).items()}


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def config(name: str) -> Any:
    return json.loads((recording(name) / "config.json").read_text())


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, relative to the largest value of the recording."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    scale = theirs.abs().max().item()
    return (ours.double() - theirs.double()).abs().max().item() / max(scale, 1e-12)


def agree(ours: Tensor, theirs: Tensor, tolerance: float, what: str) -> None:
    """Fail unless `ours` is within `tolerance` of the recording; report how close it came."""
    worst = distance(torch.as_tensor(ours), torch.as_tensor(theirs))
    REPORT[what] = max(worst, REPORT.get(what, 0.0))
    assert worst <= tolerance, f"{what}: relative error {worst:.2e}, allowed {tolerance:.0e}"


REPORT: dict[str, float] = {}
