"""The scores of MCVD's official runner, of its recorded samples."""

import json
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from parity import agree, config, recording, tensors
from torch import Tensor

from framefill.evaluation.measures import Measures
from framefill.evaluation.parts import Parts
from framefill.evaluation.results import results_of
from framefill.metrics.scores import Scores, SsimConvention, score
from framefill.protocols.protocol import Protocol

TRAJECTORIES = 2
CASES = [
    ("mcvd/r_pred", "pred", "grey_bytes"),
    ("mcvd/r_pred_smmnist_ssim", "pred", "binary_bytes"),
    ("mcvd/r_interp_pred_gen", "interp", "grey_bytes"),
    ("mcvd/r_interp_pred_gen", "pred", "grey_bytes"),
]


class Task(NamedTuple):
    """One task that the runner does for each batch of videos: its frames, block by block."""

    name: str
    frames: int
    blocks: int


def tasks_of(name: str) -> list[Task]:
    """Return the tasks in the order in which the runner does them."""
    settings = config(name)
    data = settings["data"]
    block, predicted = data["num_frames"], settings["sampling"]["num_frames_pred"]
    lengths = {"pred": predicted}
    if data["num_frames_future"]:
        generated = data["num_frames_cond"] + predicted
        lengths = {"interp": block, "pred": predicted, "gen": generated}
    return [Task(task, frames, ceil(frames / block)) for task, frames in lengths.items()]


def videos(image: Tensor) -> Float32[np.ndarray, "n f h w 1"]:
    """Return grey frames that the runner keeps as channels, in [-1, 1], as it scores them."""
    return ((image + 1) / 2).clamp(0, 1)[..., None].numpy()


def samples(name: str, task: str) -> Float32[np.ndarray, "n k f h w 1"]:
    """Return all trajectories; the runner saves those of its first batch only."""
    recorded, tasks = tensors(recording(name) / "rollout.safetensors"), tasks_of(name)
    calls = [recorded[key] for key in sorted(recorded) if key.endswith("/out")]
    per_batch = sum(each.blocks for each in tasks)
    place = [each.name for each in tasks].index(task)
    first = sum(each.blocks for each in tasks[:place])
    batches = [
        torch.cat(calls[start : start + tasks[place].blocks], dim=1)[:, : tasks[place].frames]
        for start in range(first, len(calls), per_batch)
    ]
    filled = videos(torch.cat(batches))
    what = "gen" if task == "gen" else "pred"
    saved = recorded[f"saved/videos_{task}_1/{what}"].numpy()
    np.testing.assert_array_equal(filled[: len(saved), ..., 0], saved)
    return filled.reshape(-1, TRAJECTORIES, *filled.shape[1:])


def truth(name: str, task: str) -> Float32[np.ndarray, "n f h w 1"]:
    recorded = tensors(recording(name) / "rollout.safetensors")
    past = config(name)["data"]["num_frames_cond"]
    frames = next(each.frames for each in tasks_of(name) if each.name == task)
    ordered = recorded["dataset_videos"][recorded["dataset_order"]][:, past : past + frames, 0]
    true = videos(2 * ordered - 1)
    saved = recorded[f"saved/videos_{task}_1/real"][::TRAJECTORIES].numpy()
    np.testing.assert_array_equal(true[: len(saved), ..., 0], saved)
    return true


def half(truth: np.ndarray, frames: np.ndarray, *, data_range: float) -> np.ndarray:
    """The recordings were made with this in place of LPIPS."""
    return np.full(truth.shape[:-3], 0.5)


def scores(name: str, task: str, convention: SsimConvention) -> Scores:
    filled, true = samples(name, task), truth(name, task)
    return score(true, filled, data_range=1, ssim=convention, lpips=half)


@pytest.mark.parametrize(("name", "task", "convention"), CASES)
def test_scores(name: str, task: str, convention: SsimConvention) -> None:
    official = _official(name)
    for metric, summary in scores(name, task, convention).best.items():
        ours = {"": summary.mean, "_std": summary.std, "_conf95": summary.confidence}
        for suffix, value in ours.items():
            expected = official[f"{task}_{metric}{suffix}"]
            if metric == "lpips" and suffix == "_conf95":
                # All videos have one LPIPS: no spread, for which SciPy has no interval.
                assert np.isnan(expected)
                assert value == 0
                continue
            what = f"{recording(name).name}: {task} {metric}"
            agree(*torch.tensor([value, expected], dtype=torch.float64), 1e-5, what)


class Projection:
    """What the recordings were made with in place of I3D."""

    dims = 6
    seen: tuple[Tensor, ...] = ()

    def __call__(
        self, videos: np.ndarray, *, data_range: float, resize: str = "bilinear"
    ) -> np.ndarray:
        assert data_range == 1
        layout = torch.from_numpy(videos).expand(*videos.shape[:-1], 3).permute(0, 4, 1, 2, 3)
        self.seen = (*self.seen, layout)
        flat = layout.flatten(1)
        generator = torch.Generator().manual_seed(0)
        return (flat @ torch.randn(flat.shape[1], self.dims, generator=generator)).numpy()


@pytest.mark.parametrize(("task", "number"), [("pred", 2), ("gen", 3)])
def test_fvd(tmp_path: Path, task: str, number: int) -> None:
    name = "mcvd/r_interp_pred_gen"
    past, filled = config(name)["data"]["num_frames_cond"], samples(name, task)
    recorded = tensors(recording(name) / "rollout.safetensors")
    whole = videos(2 * recorded["dataset_videos"][recorded["dataset_order"]][:, :, 0] - 1)
    clips = whole[:, : past + 8]
    row = "KK" + "T" * 8 if task == "pred" else "T" * 10
    if task == "pred":
        given = np.repeat(clips[:, None, :past], TRAJECTORIES, axis=1)
        filled = np.concatenate([given, filled], axis=2)
    protocol = Protocol(name="recorded", row=row, clips=4, trajectories=2, sets=("fvd",))
    network = Projection()
    measures = Measures(protocol, 0.0, 1.0, backbones={"i3d": network}, whole=False)
    parts = Parts(tmp_path / "scores")
    parts.begin({})
    for unit in range(2):  # as the runner, in two batches
        half = slice(2 * unit, 2 * unit + 2)
        parts.write(unit, measures.of(clips[half], filled[half]))
    fakes = recorded[f"fvd_input{2 + number}"]  # of the second batch, after the true ones
    mine = next(each for each in network.seen[::-1] if len(each) == 4)
    agree(mine, fakes, 1e-6, f"{recording(name).name}: {task} fvd videos")
    scores = results_of(parts, 2, protocol, 4).sets["model"]
    official = _official(name)
    each = scores.fvd_of_trajectories
    assert each is not None
    for key, value in {
        "": scores.fvd,
        "_traj_mean": each.mean,
        "_traj_std": each.std,
        "_traj_conf95": each.confidence,
    }.items():
        expected = official[f"fvd{number}{key}"]
        assert expected == official[f"{task}_fvd{key}"]
        pair = torch.tensor([value, expected], dtype=torch.float64)
        agree(*pair, 1e-5, f"{recording(name).name}: {task} fvd{key}")


def test_no_score_of_the_recordings_is_left_out() -> None:
    for name in {name for name, _, _ in CASES}:
        scored = {task for case, task, _ in CASES if case == name}
        left = {
            key
            for key in _official(name)
            if key.startswith(("pred_", "interp_", "gen_")) and "fvd" not in key
        }
        assert {key.split("_")[0] for key in left} == scored
    with_fvd = {name for name, _, _ in CASES if any("fvd" in key for key in _official(name))}
    assert with_fvd == {"mcvd/r_interp_pred_gen"}


@pytest.mark.parametrize("convention", ["channels", "binary_bytes"])
def test_the_convention_of_ssim_matters(convention: SsimConvention) -> None:
    ours = scores("mcvd/r_pred", "pred", convention).best["ssim"].mean
    assert ours != pytest.approx(_official("mcvd/r_pred")["pred_ssim"], rel=1e-5)


def _official(name: str) -> dict[str, float]:
    return json.loads((recording(name) / "metrics.json").read_text())["metrics"]
