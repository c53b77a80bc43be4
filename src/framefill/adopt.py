"""Training runs of RaMViD's code, to go on with here, and ours, to go on with there."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framefill.card import model_card
from framefill.checkpoint import resume, save_checkpoint
from framefill.config import OptimConfig, read_config
from framefill.convert.ramvid import official_volume_weights
from framefill.convert.ramvid_checkpoint import describe, ours_of, read_weights, volumes
from framefill.convert.ramvid_config import flags_of
from framefill.convert.ramvid_flags import Flags, to_text
from framefill.errors import InputError
from framefill.files import atomic_folder
from framefill.model import Model
from framefill.model_config import ModelConfig
from framefill.pickles import load_pickle
from framefill.recipes.official_ramvid import training_config
from framefill.run import Run
from framefill.serialise import to_data, write_json
from framefill.training import TrainState

NAME = re.compile(r"model(\d{1,9})\.pt")
MOMENTS = ("exp_avg", "exp_avg_sq")


def adopt_ramvid(
    checkpoint: Path, out: Path, *, flags: Flags | None = None, data: Path | None = None
) -> Run:
    """Make a run folder of an official training, which `train` continues at its step.

    Args:
        checkpoint: `modelNNNNNN.pt`; its averages `ema_RATE_NNNNNN.pt` and the optimiser's
            `optNNNNNN.pt` are taken from beside it. Nothing in them is executed.
        out: The new run folder.
        flags: What the official script was called with; None: told by the weights, or published.
        data: Folder of the videos, with train/ and test/.

    Raises:
        InputError: a file is missing or not what the flags and the weights promise, or the folder
            exists already.
    """
    step = _step_of(checkpoint)
    weights = read_weights(checkpoint)
    flags, model = describe(weights, flags, checkpoint)
    config = training_config(flags, model, data)
    state = TrainState.of(model.build(), config.optim)
    state.step, state.history = step, config.loss.history(config.diffusion)
    state.network.load_state_dict(ours_of(model, weights, checkpoint))
    for rate, average in ((config.optim.ema, state.average), *state.more.items()):
        path = checkpoint.with_name(f"ema_{rate}_{step:06d}.pt")
        if not path.is_file():
            raise InputError(f"{path} is missing: say which averages there are with --ema_rate")
        average.load_state_dict(ours_of(model, read_weights(path), path))
    path = checkpoint.with_name(f"opt{step:06d}.pt")
    state.optimizer.load_state_dict(_our_optimizer(path, state, model))
    run = Run(out)
    with atomic_folder(out) as draft:
        drafted = Run(draft)
        write_json(drafted.config, to_data(config))
        save_checkpoint(drafted.checkpoints, state, keep=1)
        card = model_card(config, checkpoint.stem, state)
        Model(state.average, model, card).save(drafted.model)
    return run


def release_ramvid(run: Run, out: Path) -> str:
    """Write the newest checkpoint of a run as the official training does, into a new folder.

    Returns:
        The flags with which the official script goes on from there.

    Raises:
        InputError: the official code has no such model, the run has no checkpoint, or the folder
            exists already.
    """
    config = read_config(run.config)
    flags = flags_of(config.model())
    state = TrainState.start(config, torch.device("cpu"))
    resume(run.checkpoints, state)
    if state.step == 0:
        raise InputError(f"{run.folder} holds no checkpoint: train it first")
    suffix = f"{state.step:06d}.pt"
    with atomic_folder(out) as draft:
        torch.save(official_volume_weights(volumes(state.network)), draft / f"model{suffix}")
        for rate, average in ((config.optim.ema, state.average), *state.more.items()):
            torch.save(official_volume_weights(volumes(average)), draft / f"ema_{rate}_{suffix}")
        torch.save(_official_optimizer(state, config.optim), draft / f"opt{suffix}")
    rates = ",".join(str(rate) for rate in (config.optim.ema, *config.optim.more_ema))
    return f"{to_text(flags)} --lr {config.optim.lr} --ema_rate {rates}".strip()


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
        raise InputError(f"{path} is no state of AdamW for {len(official)} parameters")
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
