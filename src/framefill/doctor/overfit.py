"""Training on a single clip, to see whether it can be learned."""

import math
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Shaped

from framefill.conditions import in_model_range
from framefill.config import Clips, Config, LogConfig
from framefill.data.sample import Sample
from framefill.doctor.few_clips import STREAM_DOCTOR, TRIED_CLIPS, in_memory
from framefill.doctor.report import Overfit, Speed, Verdict
from framefill.gaps import without_gaps
from framefill.masks import Masks
from framefill.metrics.baselines import copy_last, linear_blend, nearest_known
from framefill.model import Model
from framefill.randomness import generator_for
from framefill.roles import roles_from, row_of
from framefill.sampling import DpmSolver2M
from framefill.told import Told
from framefill.training import TrainState, train_steps

FEW_STEPS, MOST_STEPS = 200, 20_000
OVERFIT_BATCH, OVERFIT_EVALUATIONS = 4, 20


def overfit_clip(
    config: Config, clips: Clips, speed: Speed, minutes: float, device: torch.device
) -> Overfit:
    """Train on a single clip and fill frames of it: what can't learn that can't learn the data.

    Args:
        config: Measured.
        clips: The training clips; of the first few the one is taken that moves most.
        speed: Says how many steps there is time for.
        minutes: For training.
        device: To train on.
    """
    sample = max((clips.clip(number) for number in range(TRIED_CLIPS)), key=_motion)
    batch = min(OVERFIT_BATCH, config.optim.batch)
    second = speed.step_seconds * batch / speed.batch
    steps = round(min(max(60 * minutes / second, 1), MOST_STEPS))
    optim = replace(
        config.optim,
        steps=steps,
        batch=batch,
        microbatch=0,
        warmup=min(config.optim.warmup, steps // 10),
        decay=0.3,
        ema_power=16.7,  # an average of the last twentieth of the steps, however few they are
        more_ema=(),
        ema_widths=(),
        drop=1.0,
        drop_every=0,
        inverse_decay=0.0,
    )
    short = replace(config, optim=optim, log=LogConfig(), workers=0)
    state, started = TrainState.start(short, device), time.monotonic()
    losses = []
    for report in train_steps(short, state, in_memory([sample], short)):
        losses.append(math.inf if report.bad else report.loss)
        if time.monotonic() - started > 60 * minutes:
            break
    row = usual_row(config.masks, config.seed)
    psnr, baselines = _scores(short, Model(state.average, short.model()), sample, row, device)
    quarter = max(1, len(losses) // 4)
    first, last = np.mean(losses[quarter : 2 * quarter] or losses), np.mean(losses[-quarter:])
    found = Overfit(
        row=row,
        steps=len(losses),
        seconds=time.monotonic() - started,
        first_loss=float(first),
        last_loss=float(last),
        psnr=psnr,
        baselines=baselines,
        verdict="learned",
    )
    return replace(found, verdict=verdict_on(found))


def verdict_on(found: Overfit) -> Verdict:
    """Return what the losses and scores say."""
    best = [math.inf if each is None else each for each in found.baselines.values()]
    if math.isinf(max(best)):
        return "nothing moves"
    if found.psnr is None or found.psnr > max(best):
        return "learned"
    falling = found.last_loss < 0.95 * found.first_loss
    return "too few steps" if falling or found.steps < FEW_STEPS else "not learned"


def usual_row(masks: Masks, seed: int) -> str:
    """Return the row that training shows most often among those with KNOWN and TARGET frames."""
    drawn = masks.sample(1000, generator_for(seed, STREAM_DOCTOR))
    rows = Counter(row_of(each[None]) for each in drawn)
    compared = {row: count for row, count in rows.items() if "K" in row and "T" in row}
    return max(compared or rows, key=lambda row: (rows[row], row))


def _motion(sample: Sample) -> float:
    """Return how much changes from frame to frame; clips with gaps come last."""
    frames = sample["frames"].astype(np.float64)
    if not np.isfinite(frames).all():
        return -1 / (1 + float(np.isfinite(frames).mean()))
    return float(abs(np.diff(frames, axis=0)).mean())


def _scores(
    config: Config, model: Model, sample: Sample, row: str, device: torch.device
) -> tuple[float | None, dict[str, float | None]]:
    """Return the PSNR of a row's targets as a model fills them, and as baselines do."""
    normaliser = config.normaliser
    clip = normaliser.to_clip(sample["frames"])[None]
    clip, roles, valid = without_gaps(clip, roles_from(row))
    label = sample.get("label")
    conditions = {
        each.name: in_model_range(
            each, torch.from_numpy(sample["conditions"][each.name])[None].float()
        )
        for each in config.conditions
    }
    told = Told(valid, None if label is None else torch.tensor([label]), conditions)
    filled = model.complete(
        clip.to(device),
        roles.to(device),
        [generator_for(config.seed, STREAM_DOCTOR, 1)],
        sampler=DpmSolver2M(steps=OVERFIT_EVALUATIONS),
        guidance=1.0,
        precision=config.precision,
        told=told.to(device),
    )
    truth = normaliser.to_frames(clip[0], np.dtype(np.float32))
    ways = {"model": normaliser.to_frames(filled[0], np.dtype(np.float32))}
    row = row_of(roles)  # in which frames that are missing aren't asked for
    given = [letter == "K" for letter in row]
    if any(given):
        ways |= {
            "copy last": copy_last(truth, row),
            "nearest": nearest_known(truth, row),
            "linear": linear_blend(truth, row),
        }
    # What learns nothing but the mean beats the others where frames have little in common.
    mean = truth[given or slice(None)].mean(axis=0)
    ways["mean of given frames"] = np.broadcast_to(mean, truth.shape)
    there = np.ones(truth.shape[:3], bool) if valid is None else valid[0, :, 0].numpy()
    there = there & np.array([letter == "T" for letter in row])[:, None, None]
    span = normaliser.high - normaliser.low
    scores = {name: _psnr(truth[there], frames[there], span) for name, frames in ways.items()}
    return scores.pop("model"), scores


def _psnr(
    truth: Shaped[np.ndarray, "n c"], frames: Shaped[np.ndarray, "n c"], span: float
) -> float | None:
    error = float((((truth.astype(np.float64) - frames) / span) ** 2).mean()) if truth.size else 0.0
    return -10 * math.log10(error) if error else None
