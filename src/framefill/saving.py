"""What a run saves: checkpoints, models of its averages, snapshots."""

from torch import nn

from framefill.card import model_card
from framefill.checkpoint import prune, save_checkpoint
from framefill.config import Config
from framefill.model import Model
from framefill.run_folder import Run
from framefill.snapshots import save_snapshot
from framefill.training import TrainState
from framefill.training.spread import is_divided, whole_state


def save_state(run: Run, config: Config, name: str, state: TrainState) -> None:
    """Write a checkpoint, and the models of all averages; every process has to call it.

    Raises:
        InputError: they can't be written; the checkpoints that were there are as they were.
    """
    save_checkpoint(run.checkpoints, state)
    networks = {run.model: whole_network(config, state, state.average)}
    for rate, average in state.more.items():
        networks[run.model_at(rate)] = whole_network(config, state, average)

    def write() -> None:
        card = model_card(config, name, state)
        for folder, network in networks.items():
            Model(network, config.model(), card).save(folder, overwrite=True)
        thin_out(run, config)

    state.ranks.first_does(write)


def thin_out(run: Run, config: Config) -> None:
    """Remove checkpoints that are neither among the newest nor among the best.

    Raises:
        InputError: the newest one is damaged; nothing was removed.
    """
    best = run.best(config.log.keep_best)
    prune(run.checkpoints, keep=config.log.keep, best=best)


def save_averages(run: Run, state: TrainState) -> None:
    """Write a snapshot of the power-function averages; every process has to call it.

    Raises:
        InputError: it can't be written.
    """
    keep = state.ranks.first
    found = {width: whole_state(average, keep) for width, average in state.widths.items()}

    def write() -> None:
        save_snapshot(run.snapshots, state.step, found)

    state.ranks.first_does(write)


def whole_network(config: Config, state: TrainState, network: nn.Module) -> nn.Module:
    """Return an average as a network that is whole; every process has to call it.

    Where the weights are divided, only the first process's is of use. It is on the CPU: the GPU may
    not hold it.
    """
    if not is_divided(network):
        return network
    weights = whole_state(network, state.ranks.first)
    if not state.ranks.first:
        return network
    together = config.model().build()
    together.load_state_dict(weights)
    return together.eval()
