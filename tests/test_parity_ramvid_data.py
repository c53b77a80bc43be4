"""RaMViD's recordings: what its loader makes of video files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity import agree, config, recording, tensors
from PIL import Image
from torch import Tensor

from framefill.config import Config, OptimConfig
from framefill.data.read import read
from framefill.data.video import Video
from framefill.data.videos import VideoClips, VideosConfig
from framefill.errors import InputError
from framefill.masks import RandomMasks
from framefill.nn.config import VolumeConfig
from framefill.normalise import Normaliser
from framefill.training import batches

NAME = "ramvid/data"
CASES: dict[str, dict[str, Any]] = {case["key"]: case for case in config(NAME)["cases"]}
# In steps of the 256 values. Every decoder gives a GIF the same pixels. Builds of FFmpeg may differ
# by 1 in how they turn YUV into RGB, which the bicubic filter can make 2, since some of its weights
# are negative; the build that the recordings were made with gives 0.
STEPS = {".gif": 0, ".mp4": 2, ".avi": 2}
ROUNDING = 2e-7  # float32: x / 127.5 - 1 there, (x - 127.5) / 127.5 here


def official(key: str) -> Tensor:
    """The recorded clip, [c f h w] in [-1, 1]."""
    return tensors(recording(NAME) / "expected.safetensors")[key]


def fitted(case: dict[str, Any]) -> Video:
    """Every frame of the recorded file."""
    size, channels = case["resolution"], 3 if case["rgb"] else 1
    video = read(recording(NAME) / case["file"])
    return video.fit(height=size, width=size, channels=channels, how="ramvid")


def pixels(clip: Tensor) -> np.ndarray:
    return ((clip + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()


def videos_of(folder: Path, *names: str, **fields: Any) -> VideosConfig:
    """A folder of recorded files to train on."""
    (folder / "train").mkdir()
    for name in names:
        shutil.copy(recording(NAME) / name, folder / "train" / name)
    return VideosConfig(path=folder, height=16, width=16, fit="ramvid", **fields)


def test_all_recorded_cases_are_compared() -> None:
    assert set(CASES) == set(tensors(recording(NAME) / "expected.safetensors"))
    assert {case["file"] for case in CASES.values()} == {
        *("clip.gif", "clip.mp4", "clip.avi", "short.mp4")
    }


@pytest.mark.parametrize("key", CASES)
def test_frames_are_those_of_the_official_loader(key: str) -> None:
    case, theirs = CASES[key], official(key)
    suffix = Path(case["file"]).suffix
    ours = fitted(case).frames[case["start"] :][: case["seq_len"]]
    first = suffix == ".gif" and case["start"] == 0  # see the test of the frame with a palette
    ours, theirs = ours[first:], theirs[:, first : len(ours)]
    assert len(ours) >= 3
    assert np.abs(ours.astype(int) - pixels(theirs)).max() <= STEPS[suffix]
    clip = Normaliser().to_clip(ours).transpose(0, 1)
    agree(clip, theirs, STEPS[suffix] / 127.5 + ROUNDING, f"{NAME}: {key}")


def test_the_official_loader_does_not_filter_a_frame_with_a_palette() -> None:
    """Pillow takes the nearest pixels of the first frame of a GIF; we filter it as the others."""
    key = "clip.gif_r32_L12_gray"
    theirs = pixels(official(key))[0, ..., 0]
    with Image.open(recording(NAME) / "clip.gif") as image:
        assert (image.mode, image.size) == ("P", (90, 70))
        nearest = image.convert("RGB").resize((45, 35), Image.Resampling.NEAREST)
    nearest = nearest.resize((41, 32), Image.Resampling.NEAREST).crop((4, 0, 36, 32))
    assert np.array_equal(np.asarray(nearest.convert("L")), theirs)
    assert not np.array_equal(fitted(CASES[key]).frames[0, ..., 0], theirs)


def test_the_official_loader_pads_short_clips_with_gray() -> None:
    key = "short.mp4_r16_L5_rgb"
    theirs, ours = official(key), fitted(CASES[key])
    assert (theirs.shape[1], len(ours.frames)) == (5, 3)
    assert torch.equal(theirs[:, 3:], torch.zeros(3, 2, 16, 16))


def test_short_clips_are_left_out_and_told_never_padded(tmp_path: Path) -> None:
    clips = videos_of(tmp_path, "clip.mp4", "short.mp4").clips(frames=5, split="train", seed=0)
    assert [(each.path.name, each.length) for each in clips.left_out] == [("short.mp4", 3)]
    assert [each.path.name for each in clips.footage] == ["clip.mp4"]
    for index in range(20):
        assert not (np.abs(clips[index].astype(int) - 127.5) < 1).all(axis=(1, 2, 3)).any()


def test_only_short_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the longest video, .*short\.mp4, has 3: make the clips"):
        videos_of(tmp_path, "short.mp4").clips(frames=5, split="train", seed=0)


def test_fewer_videos_than_a_batch_give_batches(tmp_path: Path) -> None:
    """The official loader drops every incomplete batch and then waits for one without end."""
    config = Config(
        data=videos_of(tmp_path, "clip.gif"),
        masks=RandomMasks(frames=8, max_known=1),
        network=VolumeConfig(),
        optim=OptimConfig(steps=3, batch=4),
    )
    assert [tuple(batch.frames.shape) for batch in batches(config, config.clips("train"), 0)] == [
        (4, 8, 16, 16, 3)
    ] * 3


def test_clips_hold_the_frames_of_the_official_loader(tmp_path: Path) -> None:
    theirs = pixels(official("clip.gif_r16_L8_rgb"))
    clips: VideoClips = videos_of(tmp_path, "clip.gif").clips(frames=8, split="train", seed=0)
    same = [np.array_equal(clips[index], theirs) for index in range(30)]
    assert 0 < sum(same) < 30  # one of the five starts
