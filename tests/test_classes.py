"""Class labels: found in file names, learned, and asked for by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from framefill.cli import main
from framefill.config import Config, LogConfig, OptimConfig, read_config
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.fill import Filler, load
from framefill.masks import BlockMasks, RandomMasks
from framefill.nn.config import ConcatConfig, VolumeConfig
from framefill.run import train
from framefill.sampling import Ddim


def config(**changes: Any) -> Config:
    settings: dict[str, Any] = {
        "data": VideosConfig(height=16, width=16, channels=1, classes=("all",)),
        "masks": RandomMasks(frames=3, max_known=1),
        "network": VolumeConfig(width=32, multipliers=(1,), blocks=1, attention=(), classes=4),
        "diffusion": Diffusion(predicts="clean"),
        "sampler": Ddim(steps=5),
        "optim": OptimConfig(steps=60, batch=4, lr=3e-3, warmup=0, ema=0.5),
        "log": LogConfig(sample_every=0, save_every=60),
    }
    return Config(**{**settings, **changes})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright videos, whose file names say which they are."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        (folder / split).mkdir()
        for name, value in (("dark", 10), ("bright", 245)):
            for number in range(2):
                frames = np.full((4, 16, 16, 1), value, np.uint8)
                np.save(folder / split / f"{name}_{number}_a.npy", frames)
    return folder


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(config(), out=out, data=videos, progress=False)
    return out


@pytest.fixture(scope="module")
def filler(run: Path) -> Filler:
    return load(run)


def test_all_classes_are_those_of_the_training_videos(run: Path, filler: Filler) -> None:
    assert read_config(run / "config.json").data.classes == ("bright", "dark")
    assert filler.model.config.classes == ("bright", "dark")


def test_clips_know_their_classes(videos: Path) -> None:
    data = VideosConfig(path=videos, height=16, width=16, channels=1, classes=("dark", "bright"))
    for split in ("train", "test"):
        clips = data.clips(frames=3, split=split, seed=0)
        labels = [clips.label(index) for index in range(20)]
        assert labels == [int(clips[index].mean() > 100) for index in range(20)]
        assert set(labels) == {0, 1}
    assert (
        VideosConfig(path=videos, height=16, width=16, channels=1)
        .clips(frames=3, split="test", seed=0)
        .label(0)
        is None
    )


def test_the_label_decides_what_is_generated(filler: Filler) -> None:
    dark = filler.generate(3, label="dark", samples=4).frames.mean()
    bright = filler.generate(3, label="bright", samples=4).frames.mean()
    assert bright > dark + 30
    assert np.array_equal(
        filler.generate(3, label="dark").frames, filler.generate(3, label=1).frames
    )


def test_labels_from_the_command_line(run: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["generate", "--frames", "3", "--model", str(run), "--out", str(tmp_path / "x.npy")]
    assert main([*command, "--label", "bright"]) == 0
    assert np.load(tmp_path / "x.npy").shape == (3, 16, 16, 1)
    assert main([*command, "--overwrite"]) == 2
    assert "give a label out of bright, dark" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--label", "brigth"]) == 2
    assert "did you mean 'bright'" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--label", "3"]) == 0
    assert main([*command, "--overwrite", "--label", "4"]) == 2
    scores = ["evaluate", str(run), "--out", str(tmp_path / "scores"), "--clips", "2"]
    assert main([*scores, "--samples", "2", "--roles", "KTT"]) == 0


def test_models_without_classes_take_no_label() -> None:
    with pytest.raises(InputError, match="trained without classes"):
        load("digits").generate(3, label="bright")


def test_every_class_of_a_batch_counts(filler: Filler) -> None:
    model = filler.model
    clip, roles = torch.zeros(2, 3, 1, 16, 16), torch.full((2, 3), 2, dtype=torch.int8)

    def noises() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(0) for _ in range(2)]

    both = model.of_class([0, 1]).complete(clip, roles, noises())
    alone = [model.of_class([number]).complete(clip, roles, noises()) for number in (0, 1)]
    for number in (0, 1):
        assert torch.allclose(both[number], alone[number][number], atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": VideosConfig(path=Path("videos"), height=16, width=16, channels=1)},
            "and data of none",
        ),
        (
            {"data": VideosConfig(height=16, width=16, channels=1, classes=tuple("abcde"))},
            "5 names of classes for a network of 4",
        ),
        (
            {"data": VideosConfig(height=16, width=16, channels=1, classes=("a", "a"))},
            "all different",
        ),
        (
            {
                "network": ConcatConfig(width=8, multipliers=(1,), blocks=1, attention=()),
                "masks": BlockMasks(past=1, target=2),
            },
            "and a network of none",
        ),
    ],
)
def test_classes_that_do_not_go_with_the_network_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config(**changes)


def test_videos_of_no_class_are_named(videos: Path) -> None:
    data = VideosConfig(path=videos, height=16, width=16, channels=1, classes=("dark",))
    with pytest.raises(InputError, match=r"bright_0_a\.npy is of none of the classes dark"):
        data.clips(frames=3, split="train", seed=0)


def test_scores_of_a_model_folder_are_of_the_clips_own_classes(
    run: Path, videos: Path, tmp_path: Path, capsys: Any
) -> None:
    means = []
    for label in ((), ("--label", "dark")):
        out = tmp_path / f"bits{len(means)}"
        command = ["evaluate", str(run / "model"), "--data", str(videos), "--metric", "bpd"]
        command += ["--roles", "TTT", "--clips", "4", "--steps", "5", "--sampler", "ddpm"]
        assert main([*command, "--out", str(out), *label]) == 0
        means.append(json.loads((out / "bits.json").read_text())["rows"][0]["bits"]["mean"])
    assert means[0] < means[1] - 0.05
    assert main([*command, "--out", str(tmp_path / "x"), "--label", "green"]) == 2
    assert "no class 'green'" in capsys.readouterr().err


def test_classes_that_are_not_known_are_asked_for(filler: Filler) -> None:
    with pytest.raises(InputError, match="give a label"):
        filler.model.of_class([None])


def test_frames_are_kept_for_other_scores(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    command = ["evaluate", str(run), "--out", str(out), "--clips", "3", "--samples", "2"]
    assert main([*command, "--keep", "--roles", "KTT", "TTT"]) == 0
    for name in ("own-K1T2", "own-T3"):
        (file,) = (out / name / "frames").iterdir()
        kept = np.load(file)
        assert kept["truth"].shape == (3, 3, 16, 16, 1)
        assert kept["filled"].shape == (3, 2, 3, 16, 16, 1)
        assert kept["truth"].dtype == np.uint8
        assert kept["filled"].dtype == np.float32
    (file,) = (out / "own-K1T2" / "frames").iterdir()
    first = np.load(file)
    np.testing.assert_allclose(first["filled"][:, 1, 0], first["truth"][:, 0], atol=1e-4)
