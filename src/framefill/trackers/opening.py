"""Trackers by name: ours, and those of installed plugins."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from framefill.errors import InputError, suggestion
from framefill.trackers.tensorboard import open_tensorboard
from framefill.trackers.tracker import Tracker, Trackers, reason_of
from framefill.trackers.wandb import open_wandb

# Takes the run folder, the run's name, its settings and the step at which it goes on.
Opener = Callable[[Path, str, Mapping[str, object], int], Tracker]

GROUP = "framefill.trackers"
OURS: dict[str, Opener] = {"tensorboard": open_tensorboard, "wandb": open_wandb}


def open_trackers(
    names: Sequence[str],
    folder: Path,
    *,
    run_name: str,
    settings: Mapping[str, object],
    step: int,
    say: Callable[[str], None],
) -> Trackers:
    """Open the trackers of a run.

    Beside tensorboard and wandb, a name may be that of an entry point of the group
    "framefill.trackers": a callable that takes the run folder, the run's name, its settings and the
    step at which it goes on, and returns a `Tracker`.

    Args:
        names: Which ones; none: what is returned does nothing.
        folder: The run folder.
        run_name: What the run is called where several are shown.
        settings: The run's config as plain JSON data.
        step: Steps taken so far: what was tracked of later ones comes again.
        say: Takes messages for the user.

    Raises:
        InputError: a name is unknown or there twice, or a tracker can't be opened.
    """
    openers = {name: _opener(name) for name in names}
    if len(openers) < len(names):
        raise InputError(f"trackers {', '.join(names)}: name each one once")
    trackers = Trackers({}, say)
    try:
        for name, opener in openers.items():
            # On by default, so that not having it is no mistake.
            if name == "tensorboard" and find_spec("tensorboard") is None:
                say(
                    "no curves for tensorboard, which is not installed: "
                    "pip install 'framefill[tensorboard]'"
                )
                continue
            trackers.trackers[name] = _open(name, opener, folder, run_name, settings, step)
    except BaseException:
        trackers.close()
        raise
    return trackers


def _opener(name: str) -> Opener:
    """Return what opens a tracker; its plugin is loaded now, before anything is opened."""
    if name in OURS:
        return OURS[name]
    plugins: dict[str, EntryPoint] = {each.name: each for each in entry_points(group=GROUP)}
    if name not in plugins:
        known = [*OURS, *plugins]
        raise InputError(
            f"no tracker {name!r}{suggestion(name, known)}; there are: {', '.join(known)}"
        )
    try:
        opener = plugins[name].load()
    except Exception as error:
        raise InputError(
            f"tracker {name!r} ({plugins[name].value}) can't be loaded ({reason_of(error)}): "
            "mend or leave out that plugin"
        ) from error
    if not callable(opener):
        raise InputError(
            f"tracker {name!r} ({plugins[name].value}) is no callable that returns a tracker: "
            "mend or leave out that plugin"
        )
    return opener


def _open(
    name: str,
    opener: Opener,
    folder: Path,
    run_name: str,
    settings: Mapping[str, object],
    step: int,
) -> Tracker:
    try:
        tracker = opener(folder, run_name, settings, step)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"tracker {name!r} can't be opened ({reason_of(error)}): mend that or leave it out of "
            "log.trackers"
        ) from error
    if not isinstance(tracker, Tracker):
        raise InputError(
            f"tracker {name!r} gave a {type(tracker).__name__}, which lacks one of numbers, "
            "picture, video and close: mend or leave out that plugin"
        )
    return tracker
