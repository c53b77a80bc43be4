"""A run folder: train a config into it, or go on where it stopped."""

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from framefill.card import model_card
from framefill.checkpoint import resume, save_checkpoint
from framefill.config import Clips, Config, LogConfig, difference, read_config
from framefill.data.own import Dataset
from framefill.data.sheet import SheetRow, save_sheet
from framefill.data.videos import ALL_CLASSES, VideosConfig
from framefill.data.write import to_picture
from framefill.device import choose_device
from framefill.errors import InputError
from framefill.files import write_text
from framefill.intake import Intake, take_in
from framefill.model import Model
from framefill.planning import can_fill
from framefill.progress import ProgressDisplay
from framefill.randomness import generator_for
from framefill.recipes import recipe
from framefill.serialise import to_data, write_json
from framefill.training import Report, TrainState, train_steps

PREVIEW_CLIPS = 3


@dataclass(frozen=True)
class Run:
    """A run folder and what is in it.

    config.json, metrics.jsonl, checkpoints/<step>/, samples/ and model/, the averaged model,
    loadable at any time; beside it model-ema-RATE/ for each further average.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.folder / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint, named after its step."""
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        """Pictures of clips that the model filled while it was trained."""
        return self.folder / "samples"

    @property
    def model(self) -> Path:
        """The averaged model of the newest checkpoint."""
        return self.folder / "model"

    def model_at(self, rate: float) -> Path:
        """The model of a further average."""
        return self.folder / f"model-ema-{rate}"


def train(
    config: Config | str,
    *,
    out: Path | str,
    data: Path | str | Dataset | None = None,
    test: Dataset | None = None,
    name: str = "",
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Model:
    """Train a config into a run folder; the same call again goes on where it stopped.

    Args:
        config: What to train, or the name of a recipe.
        out: The run folder. Nothing in it is ever deleted but old checkpoints.
        data: Where the training data is, or a dataset of the user's own
            (`framefill.data.own.Dataset`); None: where the config says.
        test: Held-out clips, where `data` is a dataset; None: no pictures of them.
        name: Of the recipe, for the model card.
        device: "auto", "cpu", "cuda" or "mps".
        progress: Show a progress bar, or a line now and then where there is no terminal.
        say: Takes messages for the user.

    Returns:
        The averaged model.

    Raises:
        InputError: the folder holds something else, or a run of another config.
        KeyboardInterrupt: the user interrupted; the run was saved after its last whole step.
    """
    if isinstance(config, str):
        name = name or config
        config = recipe(config)
    run = Run(Path(out))
    # Everything that can be wrong with the settings shows before the folder is touched.
    intake = take_in(
        config,
        data,
        test,
        before=run.config,
        held_out=config.log.sample_every > 0,
        progress=progress,
        say=say,
    )
    config = intake.config
    state = TrainState.start(config, choose_device(device))
    _claim(run, config)
    for line in resume(run.checkpoints, state):
        say(f"passed over: {line}")
    if state.step >= config.optim.steps:
        say(f"at step {state.step} of {config.optim.steps} already: to go on, raise --optim.steps")
    elif state.step:
        say(f"going on at step {state.step} of {config.optim.steps}")
    spent = _forget_metrics_after(run, state.step)
    run.samples.mkdir(exist_ok=True)
    with (
        ProgressDisplay(config, state.step, spent, show=progress) as display,
        _interrupts() as interrupted,
    ):
        for report in train_steps(config, state, intake.train):
            _after_step(run, intake, name, state, report, display, say)
            if interrupted():
                save_state(run, config, name, state)
                raise KeyboardInterrupt
    return _model(config, name, state)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Note an interrupt instead of raising it within a step; a second one is raised at once.

    A step that is cut in two could not be resumed exactly.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        noted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _claim(run: Run, config: Config) -> None:
    """Make the folder this config's, or check that it is."""
    if run.folder.exists() and not run.folder.is_dir():
        raise InputError(f"{run.folder} is a file: choose a folder for --out")
    # What begins with a dot is the draft of a file that was not finished.
    if not run.folder.exists() or all(p.name.startswith(".") for p in run.folder.iterdir()):
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.config, to_data(config))
        return
    if not run.config.is_file():
        raise InputError(f"{run.folder} holds files but no run: choose another folder for --out")
    started = read_config(run.config)
    changes = difference(_identity(started, config), _identity(config, config))
    if changes:
        raise InputError(
            f"{run.folder} holds a run of another config ({'; '.join(changes)}): "
            "choose another folder for --out, or give the same settings to go on"
        )
    write_json(run.config, to_data(config))


def _identity(config: Config, now: Config) -> Config:
    """Return what of a config decides what is learned, as far as it was decided already."""
    optim, data = replace(config.optim, microbatch=0), config.data
    if config.optim.decay == now.optim.decay == 0:
        # Without a fall towards the end no step depends on how many there are.
        optim = replace(optim, steps=now.optim.steps)
    if isinstance(data, VideosConfig) and isinstance(now.data, VideosConfig):
        path = data.path or now.data.path
        classes = now.data.classes if data.classes == ALL_CLASSES else data.classes
        data = replace(data, path=path, classes=classes)
    return replace(
        config, optim=optim, data=data, log=LogConfig(), workers=0, recompute=now.recompute
    )


def _after_step(
    run: Run,
    intake: Intake,
    name: str,
    state: TrainState,
    report: Report,
    display: "ProgressDisplay",
    say: Callable[[str], None],
) -> None:
    config = intake.config
    log, last = config.log, state.step == config.optim.steps
    display.show(report)
    if state.step % log.log_every == 0 or last:
        line = {**asdict(report), "seconds": round(display.seconds, 3)}
        with run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if state.step % log.save_every == 0 or last:
        save_state(run, config, name, state)
    due = log.sample_every and (state.step % log.sample_every == 0 or last)
    if due and intake.test is not None:
        say(f"filling held-out clips for {run.samples} in {config.sampler.steps} steps")
        try:
            _preview(run, config, intake.test, _model(config, name, state), state.step)
        except InputError as error:  # which is no reason to stop a training
            say(f"no pictures of held-out clips: {error}")


def save_state(run: Run, config: Config, name: str, state: TrainState) -> None:
    """Write a checkpoint, and the models of all averages."""
    save_checkpoint(run.checkpoints, state, keep=config.log.keep)
    card = model_card(config, name, state)
    Model(state.average, config.model(), card).save(run.model, overwrite=True)
    for rate, average in state.more.items():
        Model(average, config.model(), card).save(run.model_at(rate), overwrite=True)


def _model(config: Config, name: str, state: TrainState) -> Model:
    return Model(state.average, config.model(), model_card(config, name, state))


def _preview(run: Run, config: Config, clips: Clips, model: Model, step: int) -> None:
    """Draw held-out clips as the model fills their second half, and all between their ends."""
    frames, normaliser = config.masks.frames, config.normaliser
    half = frames // 2
    rows: list[SheetRow] = []
    for row in ("K" * half + "T" * (frames - half), "K" + "T" * (frames - 2) + "K"):
        if not can_fill(row, config.masks):
            continue
        for index in range(PREVIEW_CLIPS):
            sample = clips.clip(index)
            truth = sample["frames"]
            clip = normaliser.to_clip(truth)[None].to(model.device)
            told = model.of_class([sample.get("label")])
            told = told.given(sample.get("conditions", {}), frames)
            filled = told.fill_video(
                clip, model.plan(row), [generator_for(config.seed, index)], guidance=1.0
            )
            values = normaliser.to_frames(filled[0], np.dtype(np.float32))
            limits = (normaliser.low, normaliser.high)
            rows += [
                SheetRow("truth", to_picture(truth, limits), "R" * frames),
                SheetRow("filled", to_picture(values, limits), row),
            ]
    if rows:
        save_sheet(run.samples / f"{step:08d}.png", rows, overwrite=True)


def _forget_metrics_after(run: Run, step: int) -> float:
    """Drop lines of steps that were taken but not saved: they are taken, and written, again.

    Returns:
        Seconds that the run has taken up to there.
    """
    if not run.metrics.is_file():
        return 0.0
    lines = run.metrics.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        write_text(run.metrics, "".join(f"{line}\n" for line in kept))
    return float(json.loads(kept[-1]).get("seconds", 0.0)) if kept else 0.0


def _step_of(line: str) -> float:
    """A line that a crash cut off has no step, and is dropped."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
