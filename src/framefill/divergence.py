"""When a training diverges, evidence is kept; the run goes back once, and then it stops."""

import math
from dataclasses import asdict

from torch import Tensor

from framefill.checkpoint import checkpoints, resume
from framefill.config import OptimConfig
from framefill.errors import InputError
from framefill.files import atomic_folder, set_aside
from framefill.roles import row_of
from framefill.run_folder import Run
from framefill.serialise import write_json
from framefill.training import Report, TrainState
from framefill.weights import save_tensors

BATCH, REPORT = "batch.safetensors", "report.json"
MOST_KEPT = 10  # batches: a run that skips now and then must not fill the disk


def keep_batch(run: Run, state: TrainState, report: Report) -> None:
    """Write what the first of several bad steps was taken with, each process its own part.

    Into diverged/<step>-rank<n>/, or <step>-again-rank<n>/ once the run went back:
    batch.safetensors with the frames and conditions in the user's units, the classes, the noise
    levels and the losses of the clips; report.json with the rest.

    Raises:
        InputError: it can't be written.
    """
    suspect, rank = state.suspect, f"rank{state.ranks.rank}"
    again = "-again" if state.guard.returns else ""  # with another batch
    folder = run.diverged / f"{report.step:08d}{again}-{rank}"
    if suspect is None or state.guard.streak != 1 or folder.exists():
        return
    if run.diverged.is_dir() and len(list(run.diverged.glob(f"*-{rank}"))) >= MOST_KEPT:
        return
    tensors: dict[str, Tensor] = {
        "frames": suspect.batch.frames,
        "levels": suspect.levels,
        "losses": suspect.losses,
        **{f"condition.{name}": value for name, value in suspect.batch.conditions.items()},
    }
    if suspect.batch.classes is not None:
        tensors["classes"] = suspect.batch.classes
    said = {
        "step": report.step,
        "why": report.bad,
        "loss": number(report.loss),
        "grad_norm": number(report.grad_norm),
        "lr": report.lr,
        "batch": suspect.position,
        "rows": [row_of(roles[None]) for roles in suspect.roles],
        "so_far": asdict(state.guard),
    }
    with atomic_folder(folder) as draft:
        save_tensors(draft / BATCH, {name: each.contiguous() for name, each in tensors.items()})
        write_json(draft / REPORT, said)


def went_back(run: Run, state: TrainState, optim: OptimConfig, why: str) -> str:
    """Bring a diverging run back to its last good checkpoint; every process has to call it.

    From there it goes on with the batches after those that it had come to: the same ones, with the
    same noise, would lead to the same place. Checkpoints written since are renamed to
    NAME.diverged.

    Args:
        run: The run's folder.
        state: After `optim.patience` bad steps in a row.
        optim: How the weights move.
        why: What was wrong with the last of them.

    Returns:
        What happened, for the user.

    Raises:
        InputError: it went back before, or has no good checkpoint.
    """
    bad = (
        f"{state.guard.streak} bad steps in a row up to step {state.step} ({why}); the batches are "
        f"in {run.diverged}"
    )
    advice = (
        "training diverged; look at them, and start anew with a smaller --optim.lr (now "
        f"{optim.lr:g}) in another folder; the last good checkpoint stays"
    )
    if state.guard.returns:
        raise InputError(f"{bad}, and the run went back once already: {advice}")
    step, detour = state.step, state.guard.detour
    if resume(run.checkpoints, state, steady=True).ranks == 0:
        raise InputError(f"{bad}, and there is no good checkpoint to go back to: {advice}")
    state.guard.detour = detour + step - state.step
    state.guard.returns = 1
    state.ranks.first_does(lambda: _set_aside_after(run, state.step))
    return f"{bad}: back to step {state.step}, and on with other batches"


def _set_aside_after(run: Run, step: int) -> None:
    for path in checkpoints(run.checkpoints):
        if int(path.name) > step:
            set_aside(path, "diverged")


def number(value: float) -> float | str:
    """Return a number as JSON can say it: what is none by its name."""
    return value if math.isfinite(value) else str(value)
