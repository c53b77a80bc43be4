"""A model of a run with an average of its weights of any width, made after the training."""

from collections.abc import Callable
from pathlib import Path

import torch

from framefill.config import read_config
from framefill.errors import InputError
from framefill.model import Model
from framefill.snapshots import Reconstruction, reconstructed

POOR = 0.05  # residual from which on the user is told


def average_into(
    run: Path,
    out: Path,
    *,
    width: float,
    step: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the model whose weights are a run's average of any width.

    Args:
        run: The run folder, with snapshots (`framefill.snapshots`).
        out: The model folder to make.
        width: Of the power-function average, as a share of the steps.
        step: One of which there are snapshots; None: the newest.
        say: Takes messages for the user.

    Returns:
        `out`.

    Raises:
        InputError: `out` exists, there is no such run, or the average can't be made of what is
            there (`framefill.snapshots.reconstructed`).
    """
    if out.exists():
        raise InputError(f"{out} exists: choose another name")
    config = read_config(run / "config.json").model()
    with torch.device("meta"):
        expected = config.build()
    found = reconstructed(run / "snapshots", width=width, step=step, network=expected)
    say(
        f"width {width} at step {found.step}: of {found.used} snapshot(s), which lack "
        f"{found.residual:.2%} of its profile"
    )
    if found.residual > POOR:
        say(
            "that is much: the model may be worse than the run's own; choose a width nearer to "
            "--optim.ema-widths, or train with a smaller --log.snapshot-every"
        )
    network = config.build()
    network.load_state_dict(found.weights)
    Model(network.eval(), config, _card(run, width, found)).save(out)
    return out


def _card(run: Path, width: float, found: Reconstruction) -> str:
    return f"""# framefill model, averaged after its training

The power-function average of the weights of a run, made of snapshots of averages of other widths
(Karras et al. 2024).

- Run: `{run.resolve().name}`
- Step: {found.step:,}
- Width: {width}
- Snapshots used: {found.used}
- Part of the average's profile that they lack: {found.residual:.2%}
"""
