"""MCVD's recorded rollouts: our plans make the same calls, with the same frames, in order."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from parity import agree, recording, tensors
from test_parity_mcvd import Case
from torch import Tensor

from framefill.completion import estimator
from framefill.planning import plan
from framefill.rollout import rollout
from framefill.windows import Window

ROWS = {  # task: the row of the video, in the order of the official runner's calls
    "r_pred": {"pred": "KKK" + "T" * 5},
    "r_pred_smmnist_ssim": {"pred": "K" + "T" * 4},
    "r_interp_pred_gen": {"interp": "KKTTTK", "pred": "KK" + "T" * 8, "gen": "T" * 10},
}


@pytest.mark.parametrize("name", ROWS)
@torch.no_grad()
def test_rollout(name: str) -> None:
    case = Case(f"mcvd/{name}")
    recorded = tensors(recording(f"mcvd/{name}") / "rollout.safetensors")
    videos = 2 * recorded["dataset_videos"][recorded["dataset_order"]] - 1
    batches = videos.split(2)  # two trajectories of each video, in calls of four clips
    calls = iter(range(1000))
    filled: dict[str, list[Tensor]] = {task: [] for task in ROWS[name]}
    for batch in batches:
        for task, row in ROWS[name].items():
            video = batch[:, : len(row)].repeat_interleave(2, dim=0)
            windows = plan(row, case.masks)

            def fill_window(clip: Tensor, roles: Tensor, _: Window) -> Tensor:
                return replay(case, recorded, f"call{next(calls):02}", clip, roles)

            *_, last = rollout(fill_window, video, windows)
            targets = [i for i, letter in enumerate(row) if letter == "T"]
            filled[task].append(((last[:, targets] + 1) / 2).clamp(0, 1).flatten(1, 2))
    assert f"call{next(calls):02}/init" not in recorded, "the official code made more calls"
    for task, batched in filled.items():
        saved = recorded[f"saved/videos_{task}_1/{'gen' if task == 'gen' else 'pred'}"]
        agree(torch.cat(batched)[: len(saved)], saved, 1e-3, f"{name}: {task}")


def replay(
    case: Case, recorded: dict[str, Tensor], call: str, clip: Tensor, roles: Tensor
) -> Tensor:
    """Fill one window with the recorded noise; its known frames must be the recorded ones."""
    known = clip.masked_fill((roles != 1)[:, :, None, None, None], 0.0)
    expected = case.clip(torch.zeros_like(recorded[f"{call}/init"]), recorded[f"{call}/cond"])
    assert (known - expected).abs().max() < 1e-3, call
    empty = torch.zeros_like(recorded[f"{call}/cond"])
    noises: Iterator[Any] = iter(recorded.get(f"{call}/noise", []))

    def fresh() -> Tensor:
        return case.clip(next(noises, torch.zeros_like(recorded[f"{call}/init"])), empty)

    sampler = case.config.sampler
    walk = sampler.walk(case.config.diffusion.schedule)
    start = case.clip(recorded[f"{call}/init"], empty)
    estimate = estimator(case.network, case.config.diffusion, clip, roles)
    filled = sampler(start, estimate, walk, fresh)
    agree(case.target(filled), recorded[f"{call}/out"], 1e-3, "rollouts: every call")
    return filled
