"""RaMViD's recipes and flags: the published values, sizes, and trainings from files of flags."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framefill.cli import main
from framefill.config import read_config
from framefill.costs import cost
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.masks import RandomMasks
from framefill.nn.config import VolumeConfig
from framefill.objective import MaskedLoss
from framefill.parsing import named_config
from framefill.recipes import RECIPES
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule

# frames, blocks, batch, steps, parameters and the published command's unconditional rate
PUBLISHED = {
    "bair-ramvid": (20, 2, 32, 250_000, 235_071_875, 0.25),
    "kinetics600-ramvid": (16, 3, 64, 500_000, 308_343_427, 0.25),
    "ucf101-ramvid": (16, 3, 64, 450_000, 308_343_427, 0.75),
}
RATES = (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("rate", RATES)
def test_recipes_carry_the_published_values(name: str, rate: float) -> None:
    frames, blocks, batch, steps, _, published = PUBLISHED[name]
    config = RECIPES[name if rate == published else f"{name}-{rate:g}"].make()
    assert config.masks == RandomMasks(frames=frames, max_known=4, unconditional=rate)
    assert config.network == VolumeConfig(
        width=128,
        multipliers=(1, 2, 3, 4),
        blocks=blocks,
        attention=(2, 3),
        heads=4,
        heads_up=4,
        shrink_frames=0,
    )
    assert (config.optim.batch, config.optim.steps) == (batch, steps)
    assert (config.optim.lr, config.optim.ema, config.optim.warmup) == (2e-5, 0.9999, 0)
    assert (config.optim.clip_norm, config.optim.weight_decay) == (1.0, 0.0)
    assert config.data == VideosConfig(height=64, width=64, fit="ramvid")
    assert config.loss == MaskedLoss(reduction="target_mean")
    assert config.sampler == Ddpm(steps=1000, variance="large")
    assert config.diffusion.schedule == TableSchedule(
        kind="linear", levels=1000, spacing="linspace"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_official_number_of_parameters(name: str) -> None:
    assert cost(RECIPES[name].make().model()).parameters == PUBLISHED[name][4]


def flags_file(folder: Path, text: str) -> str:
    path = folder / "official.flags"
    path.write_text(text)
    return str(path)


def test_the_published_flags_are_the_recipe(tmp_path: Path) -> None:
    flags = (
        "--image_size 64 --num_channels 128 --num_res_blocks 2 --scale_time_dim 0 \\\n"
        "--diffusion_steps 1000 --noise_schedule linear --lr 2e-5 --batch_size 32 \\\n"
        "--microbatch 2 --seq_len 20 --max_num_mask_frames 4 --uncondition_rate 0.25 --rgb True"
    )
    config, recipe = named_config(flags_file(tmp_path, flags)), RECIPES["bair-ramvid"].make()
    assert config.model() == recipe.model()
    assert config.optim.lr == recipe.optim.lr
    assert config.optim.ema == recipe.optim.ema
    assert (config.optim.batch, config.optim.microbatch) == (32, 2)
    assert config.data == recipe.data


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("--anneal_type linear --lr_anneal_steps 50", "optim.decay", 1.0),
        ("--anneal_type linear --lr_anneal_steps 50", "optim.steps", 50),
        ("--anneal_type step --drop 0.5 --steps_drop 10", "optim.drop_every", 10),
        ("--anneal_type time_based --decay 0.1", "optim.inverse_decay", 0.1),
        ("--ema_rate 0.9999,0.99", "optim.more_ema", (0.99,)),
        ("--clip 0", "optim.clip_norm", 0.0),
        ("--weight_decay 0.01", "optim.weight_decay", 0.01),
        ("--use_checkpoint True", "recompute", True),
        ("--schedule_sampler loss-second-moment", "loss.levels", "loss_aware"),
        ("--exclude_conditional False", "loss.reduction", "clip_mean"),
        ("--learn_sigma True", "loss.kind", "hybrid"),
        ("--learn_sigma True --diffusion_steps 4000", "loss.bound_scale", 4.0),
        ("--learn_sigma True --rescale_learned_sigmas False", "loss.bound_scale", 1.0),
        ("--learn_sigma True --use_kl True", "loss.kind", "bound"),
        ("--learn_sigma True --use_kl True", "loss.bound_scale", 1000.0),
        ("--use_ddim True --timestep_respacing ddim25", "sampler", Ddim(steps=25)),
        ("--timestep_respacing 10,20", "sampler.steps", (10, 20)),
        ("--resample_steps 3", "sampler.repeats", 3),
        ("--class_cond True", "data.classes", ("all",)),
        ("--mask_range 2,8", "masks.within", (2, 8)),
        ("--rgb False", "data.channels", 1),
        ("--seed 7", "seed", 7),
    ],
)
def test_every_flag_means_what_it_did(tmp_path: Path, flags: str, field: str, value: Any) -> None:
    found: Any = named_config(flags_file(tmp_path, f"--scale_time_dim 0 {flags}"))
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--scale_time_dim 0 --image_size 48", "alone; other sizes"),
        ("--scale_time_dim 0 --schedule_sampler often", "use one of uniform"),
        ("--scale_time_dim 0 --anneal_type cosine", "use one of None, linear"),
        ("--scale_time_dim 0 --ema_rate fast", "give rates"),
        ("--scale_time_dim 0 --use_kl True", "without --learn_sigma True"),
        ("--scale_time_dim 0 --anneal_type step", "drop 0.0 must be above 0"),
        ("--scale_time_dim 0 --anneal_type linear", "steps 0 must be at least 1"),
        ("--scale_time_dim 0 --use_ddim 1 --resample_steps 2", "leave one of them out"),
        ("--scale_time_dim 0 --anneal_type step --drop 0.5 --steps_drop inf", "finite number"),
        ("--scale_time_dim 0 --diffusion_steps 1000000000000", "up to 1000000000"),
        ("--scale_time_dim 0 --diffusion_steps 10000000", "noise levels|levels: needs"),
        ("--scale_time_dim 0 --seq_len 100000000", "clips of 100000000 frames"),
        ("--scale_time_dim 0 --num_channels 0", "width 0"),
        ("--scale_time_dim 0 --timestep_respacing ddim", "'ddim': use a number"),
        (f"--scale_time_dim 0 --timestep_respacing {'9' * 5000}", "use a number"),
        (f"--scale_time_dim 0 --attention_resolutions {'9' * 5000}", "needs sizes"),
        ("python video_train.py --scale_time_dim 0", "give flags and their values alone"),
        ("--max_num_mask_frames 9 --seq_len 5 --scale_time_dim 0", "--max_num_mask_frames 9 with"),
        ("--scale_time_dim 0 --image_siz 3", "did you mean 'image_size'"),
    ],
)
def test_flags_that_can_not_be_honoured_are_refused(
    tmp_path: Path, flags: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        named_config(flags_file(tmp_path, flags))


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"--lr 1 " * 20_000])
def test_files_that_hold_no_flags_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.flags"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.flags"):
        named_config(str(path))


def test_a_file_of_flags_trains(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        np.save(tmp_path / "data" / split / "video.npy", frames)
    flags = (
        "--image_size 32 --num_channels 32 --num_res_blocks 1 --scale_time_dim 0 --seq_len 4 "
        "--max_num_mask_frames 2 --batch_size 2 --microbatch 1 --anneal_type linear "
        "--lr_anneal_steps 2 --learn_sigma 1 "
        "--data_dir elsewhere"
    )
    out = tmp_path / "run"
    command = ["train", flags_file(tmp_path, flags), "--out", str(out)]
    assert main([*command, "--data", str(tmp_path / "data")]) == 0
    assert read_config(out / "config.json").optim.steps == 2
    video, filled = tmp_path / "data" / "test" / "video.npy", tmp_path / "x.npy"
    predict = ["predict", str(video), "--frames", "2", "--fit", "ramvid", "--model", str(out)]
    assert main([*predict, "--steps", "2", "--out", str(filled)]) == 0
    assert np.load(tmp_path / "x.npy").shape == (8, 32, 32, 3)


def test_generating_without_having_learned_to_is_a_warning(tmp_path: Path, capsys: Any) -> None:
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        np.save(tmp_path / "data" / split / "video.npy", frames)
    for rate, warned in (("0.0", True), ("0.25", False)):
        out = tmp_path / f"run{rate}"
        flags = (
            "--image_size 32 --num_channels 32 --num_res_blocks 1 --scale_time_dim 0 --seq_len 4 "
            "--max_num_mask_frames 2 --batch_size 1 --anneal_type linear --lr_anneal_steps 1 "
            f"--uncondition_rate {rate}"
        )
        command = ["train", flags_file(tmp_path, flags), "--out", str(out)]
        assert main([*command, "--data", str(tmp_path / "data")]) == 0
        generate = ["generate", "--frames", "6", "--model", str(out), "--steps", "2"]
        capsys.readouterr()
        assert main([*generate, "--out", str(tmp_path / f"{rate}.npy")]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert any("warning: this model was trained with given" in line for line in lines) == warned
        assert np.load(tmp_path / f"{rate}.npy").shape == (6, 32, 32, 3)
