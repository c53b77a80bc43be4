"""Training runs of RaMViD's code, to go on with here, and ours, to go on with there."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framefill.checkpoint import resume
from framefill.config import OptimConfig, read_config
from framefill.convert.ramvid import official_volume_weights
from framefill.convert.ramvid_checkpoint import describe, ours_of, read_weights, volumes
from framefill.convert.ramvid_flags import Flags, to_text
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.model_config import ModelConfig
from framefill.pickles import load_pickle
from framefill.recipes.official_ramvid import training_config, training_flags
from framefill.run_folder import Run
from framefill.saving import save_state
from framefill.serialise import to_data, write_json
from framefill.training import TrainState

NAME = re.compile(r"model(\d{1,9})\.pt")
MOMENTS = ("exp_avg", "exp_avg_sq")


def adopt_ramvid(
    checkpoint: Path, out: Path, *, flags: Flags | None = None, data: Path | None = None
) -> list[str]:
    """Make a run folder of an official training, which `train` continues at its step.

    Args:
        checkpoint: `modelNNNNNN.pt`; its averages `ema_RATE_NNNNNN.pt` and the optimiser's
            `optNNNNNN.pt` are taken from beside it. Nothing in them is executed. Where one is
            missing, it starts afresh, as in the official code.
        out: The new run folder.
        flags: What the official script was called with; None: told by the weights, or published.
        data: Folder of the videos, with train/ and test/.

    Returns:
        A line for each file that was missing.

    Raises:
        InputError: a file is not what the flags and the weights promise, or the folder exists
            already.
    """
    if out.exists():
        raise InputError(f"{out} exists: choose another folder for --out")
    step = _step_of(checkpoint)
    weights = read_weights(checkpoint)
    flags, model = describe(weights, flags, checkpoint)
    config = training_config(flags, model, data)
    if data is not None and isinstance(config.data, VideosConfig):
        config = replace(config, data=config.data.resolved())
    ours = ours_of(model, weights, checkpoint)  # before what they describe is built
    network = model.build()
    network.load_state_dict(ours)
    state = TrainState.of(network, config.optim)
    state.step, state.history = step, config.loss.history(config.diffusion)
    missing = []
    for rate, average in ((config.optim.ema, state.average), *state.more.items()):
        path = checkpoint.with_name(f"ema_{rate}_{step:06d}.pt")
        if path.is_file():
            average.load_state_dict(ours_of(model, read_weights(path), path))
        else:
            missing.append(f"no {path.name}: the average of rate {rate} starts at the last weights")
    path = checkpoint.with_name(f"opt{step:06d}.pt")
    if path.is_file():
        state.optimizer.load_state_dict(_our_optimizer(path, state, model))
    else:
        missing.append(f"no {path.name}: AdamW starts afresh")
    with atomic_folder(out) as draft:
        write_json(Run(draft).config, to_data(config))
        save_state(Run(draft), config, checkpoint.stem, state)
    return missing


def release_ramvid(run: Run, out: Path) -> str:
    """Write the newest checkpoint of a run as the official training does, into a new folder.

    Checkpoints that are damaged are passed over, and renamed (`framefill.checkpoint.resume`).

    Returns:
        The flags with which the official script goes on from there, and what they can't say.

    Raises:
        InputError: the official code has no such model, the run has no checkpoint, or the folder
            exists already.
    """
    config = read_config(run.config)
    flags, unsaid = training_flags(config)
    state = TrainState.start(config, torch.device("cpu"))
    resume(run.checkpoints, state)
    if state.step == 0:
        raise InputError(f"{run.folder} holds no checkpoint: train it first")
    suffix = f"{state.step:06d}.pt"
    with atomic_folder(out) as draft:
        torch.save(official_volume_weights(volumes(state.network)), draft / f"model{suffix}")
        for rate, average in ((config.optim.ema, state.average), *state.more.items()):
            torch.save(official_volume_weights(volumes(average)), draft / f"ema_{rate}_{suffix}")
        if state.optimizer.state:  # none was taken over, and none has come about
            torch.save(_official_optimizer(state, config.optim), draft / f"opt{suffix}")
    note = f" (its flags can't say: {'; '.join(unsaid)})" if unsaid else ""
    return f"{to_text(flags)}{note}"


def _step_of(checkpoint: Path) -> int:
    if match := NAME.fullmatch(checkpoint.name):
        return int(match[1])
    raise InputError(
        f"{checkpoint} is no modelNNNNNN.pt: a training goes on from the last weights, whose file "
        "also says the step"
    )


def _our_optimizer(path: Path, state: TrainState, model: ModelConfig) -> dict[str, Any]:
    """Return the official optimiser's state for our parameters, in our order."""
    loaded = load_pickle(path, "the optimiser's state, opt*.pt, from beside the model")
    states = loaded.get("state") if isinstance(loaded, dict) else None
    official = list(official_volume_weights(volumes(state.network)))
    if not isinstance(states, dict) or set(states) != set(range(len(official))):
        raise InputError(
            f"{path} is no state of AdamW for {len(official)} parameters; one of a training with "
            "--use_fp16 holds them as one, and can't be taken over: move it away to start afresh"
        )
    try:
        moments = {
            moment: {name: states[i][moment].float() for i, name in enumerate(official)}
            for moment in MOMENTS
        }
        steps = [float(states[i]["step"]) for i in range(len(official))]
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is no state of AdamW: {type(error).__name__} {error}") from error
    ours = {moment: ours_of(model, values, path) for moment, values in moments.items()}
    now = state.optimizer.state_dict()
    names = [name for name, _ in state.network.named_parameters()]
    now["state"] = {
        i: {"step": torch.tensor(max(steps)), **{m: ours[m][name] for m in MOMENTS}}
        for i, name in enumerate(names)
    }
    return now


def _official_optimizer(state: TrainState, optim: OptimConfig) -> dict[str, Any]:
    """Return our optimiser's state for the official parameters, in their order."""
    network = volumes(state.network)
    ours = {name: state.optimizer.state[p] for name, p in network.named_parameters()}

    def official(moment: str) -> Mapping[str, Tensor]:
        return official_volume_weights(network, {n: value[moment] for n, value in ours.items()})

    moments = {moment: official(moment) for moment in MOMENTS}
    step = next(iter(ours.values()))["step"].detach().cpu()
    group = torch.optim.AdamW(
        [torch.zeros(1) for _ in moments[MOMENTS[0]]],
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
    ).state_dict()["param_groups"]
    states = {
        i: {"step": step.clone(), **{moment: moments[moment][name] for moment in MOMENTS}}
        for i, name in enumerate(moments[MOMENTS[0]])
    }
    return {"state": states, "param_groups": group}
