"""RaMViD's recorded long sampling: every window, and the video that they make."""

import json

import torch
from parity import agree, recording, tensors
from test_parity_ramvid import diffusion_of, load, to_clip
from torch import Tensor

from framefill.completion import estimator
from framefill.roles import Role
from framefill.rollout import rollout
from framefill.sampling import Ddpm
from framefill.sliding import slide
from framefill.windows import Window

NAME = "ramvid/a_long_sampling"


@torch.no_grad()
def test_long_sampling() -> None:
    report = json.loads((recording(NAME) / "long.json").read_text())
    recorded = tensors(recording(NAME) / "long.safetensors")
    network, _ = load("ramvid/a_published_small")
    diffusion = diffusion_of(report["diffusion"], spacing="linspace")
    known = report["cond_frames"]
    row = "".join("K" if i in known else "T" for i in range(report["seq_len"]))
    windows = slide(row, advance=report["prediction_step"], context=report["max_cond_frames"])
    assert [len(window.frames) for window in windows] == [
        window["shape"][2] for window in report["windows"]
    ]
    sampler, calls = Ddpm(steps=5, variance="large"), iter(range(len(windows)))
    beyond = []

    def fill_window(clip: Tensor, roles: Tensor, _: Window) -> Tensor:
        key = f"window{next(calls)}"
        given = clip[roles == Role.KNOWN][None]
        agree(given, to_clip(recorded[f"{key}/cond_img"]), 1e-3, f"{NAME}: given frames")
        noises = iter(recorded[f"{key}/step_noise"])
        filled = sampler(
            to_clip(recorded[f"{key}/init_noise"]),
            estimator(network, diffusion, clip, roles),
            sampler.walk(diffusion.schedule),
            lambda: to_clip(next(noises)),
        )
        targets = roles == Role.TARGET
        agree(filled[targets], to_clip(recorded[f"{key}/out"])[targets], 1e-3, f"{NAME}: windows")
        beyond[:] = [filled[:, -2:]]
        return filled

    video = to_clip(recorded["video"])[:, : len(row)]
    *_, filled = rollout(fill_window, video, windows)
    # The official script goes on to the end of its last window, and rounds down.
    whole = torch.cat([filled, beyond[0]], dim=1)
    pixels = ((whole + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 1, 3, 4, 2)
    off = (pixels.int() - recorded["final_uint8"].int()).abs()
    assert off.max() <= 1
    assert (off > 0).sum() <= 3
