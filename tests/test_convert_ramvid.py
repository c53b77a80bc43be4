"""RaMViD's files to models and runs and back, and everything that is refused on the way."""

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity import config as report_of
from parity import recording
from torch import Tensor

from framefill.cli import main
from framefill.config import Config, LogConfig, OptimConfig, read_config
from framefill.convert.ramvid_checkpoint import from_ramvid, read_weights, to_ramvid
from framefill.convert.ramvid_config import flags_of, model_config
from framefill.convert.ramvid_flags import Flags, guess_flags, parse_flags, promised_shapes, to_text
from framefill.convert.ramvid_shapes import Shapes, read_shapes
from framefill.data.digits import DigitsConfig
from framefill.data.videos import VideosConfig
from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.fill import load
from framefill.masks import RandomMasks
from framefill.model import Model
from framefill.nn.config import VolumeConfig
from framefill.objective import MaskedLoss
from framefill.recipes import RECIPES
from framefill.recipes.official_ramvid import training_config, training_flags
from framefill.run import train
from framefill.sampling import Ddim, Ddpm
from framefill.schedule import TableSchedule
from framefill.serialise import to_data, write_json

SMALL = VolumeConfig(width=32, multipliers=(1, 2, 2, 2), blocks=1, attention=(1, 2))
PARITY = (
    "--image_size 16 --num_channels 32 --num_res_blocks 1 --attention_resolutions 16 "
    "--scale_time_dim 0 --seq_len 5 --max_num_mask_frames 3 --uncondition_rate 0.25"
)


def small(**changes: Any) -> Config:
    """A training of RaMViD's smallest network that takes seconds."""
    settings: dict[str, Any] = {
        "data": VideosConfig(height=32, width=32),
        "masks": RandomMasks(frames=4, max_known=2, unconditional=0.5),
        "network": SMALL,
        "diffusion": Diffusion(schedule=TableSchedule(spacing="linspace")),
        "loss": MaskedLoss(),
        "sampler": Ddpm(steps=1000, variance="large"),
        "optim": OptimConfig(steps=2, batch=1, lr=1e-3, warmup=0, ema=0.9, more_ema=(0.5,)),
        "log": LogConfig(log_every=1, sample_every=0, save_every=1),
    }
    return Config(**{**settings, **changes})


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        np.save(tmp_path / "data" / split / "video.npy", frames)
    return tmp_path / "data"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """An official file of the smallest network that the official code knows."""
    torch.manual_seed(0)
    built = small().model().build().eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "ema_0.9999_000100.pt"
    to_ramvid(Model(built, small().model()), path)
    return path


def change(path: Path, **weights: Tensor | None) -> None:
    """Put other tensors in a file; names have __ for a dot, and None takes one out."""
    states = torch.load(path, weights_only=True)
    for name, value in weights.items():
        name = name.replace("__", ".")
        if value is None:
            del states[name]
        else:
            states[name] = value
    torch.save(states, path)


def test_models_go_back_and_forth_bit_for_bit(official: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "model", tmp_path / "back.pt"
    flags = to_text(flags_of(small().model()))
    assert main(["convert", "ramvid", str(official), "--out", str(out), "--flags", flags]) == 0
    assert main(["convert", "ramvid", str(out), "--out", str(back)]) == 0
    first, second = read_weights(official), read_weights(back)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    converted = load(out).model.config
    assert converted == small().model()


def test_without_flags_the_weights_tell_and_the_rest_is_published(
    official: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    assert main(["convert", "ramvid", str(official), "--out", str(out)]) == 0
    config = load(out).model.config
    assert (config.height, config.network, config.channels) == (32, SMALL, 3)
    assert config.masks == RandomMasks(frames=20, max_known=4, unconditional=0.25)
    assert config.sampler == Ddpm(steps=1000, variance="large")


@pytest.mark.parametrize("name", [name for name in RECIPES if "ramvid" in name])
def test_the_flags_of_recipes_come_back(name: str) -> None:
    config = RECIPES[name].make().model()
    text = to_text(flags_of(config))
    flags = parse_flags(text)
    assert model_config(flags, promised_shapes(flags)) == config
    assert "--scale_time_dim 0" in text


@pytest.mark.parametrize(
    "text",
    [
        "--learn_sigma True --noise_schedule cosine --class_cond True",
        "--image_size 128 --num_heads_upsample 2 --rgb False --predict_xstart true",
        "--image_size 256 --scale_time_dim 16 --seq_len 16 --timestep_respacing ddim50 "
        "--use_ddim 1",
        "--image_size 32 --num_channels 64 --timestep_respacing 10,10,20 --sigma_small True "
        "--resample_steps 3 --mask_range 0,9 --clip_denoised False",
        "--diffusion_steps 500 --rescale_timesteps False --use_scale_shift_norm False",
    ],
)
def test_flags_come_back_from_the_model_that_they_describe(text: str) -> None:
    flags = parse_flags(text)
    assert flags_of(model_config(flags, promised_shapes(flags))) == flags
    assert parse_flags(to_text(flags)) == flags


@pytest.mark.parametrize(
    ("multipliers", "attention", "said"),
    [
        ((1, 2, 2, 2), (2, 3), "--image_size 32 --attention_resolutions 8,4"),
        ((1, 2, 2, 2), (), "--image_size 32 --attention_resolutions 1"),
        ((1, 1, 2, 2, 4, 4), (4, 5), ""),
        ((1, 2, 3, 4), (1,), None),
        ((1, 2), (1,), None),
    ],
)
def test_image_size_and_attention_are_read_from_the_weights(
    multipliers: tuple[int, ...], attention: tuple[int, ...], said: str | None
) -> None:
    shapes = Shapes(3, False, 128, multipliers, 2, attention, True, 0)
    if said is None:
        with pytest.raises(InputError, match="say with --flags what --image_size"):
            guess_flags(shapes)
        return
    flags = guess_flags(shapes)
    assert promised_shapes(flags) == shapes
    assert said.split() == [word for word in to_text(flags).split() if word in said.split()] or (
        flags.image_size == 256
    )


@pytest.mark.parametrize("name", ["procedural_full_bair_L4", "procedural_full_kinetics_L3"])
def test_the_published_networks_are_recognised(name: str) -> None:
    report = report_of(f"ramvid/{name}")
    weights = {key: torch.empty(shape, device="meta") for key, shape in report["keys"].items()}
    flags = guess_flags(read_shapes(weights))
    assert flags.uncondition_rate == 0.25
    said = {key: getattr(flags, key) for key in report["flags"]}
    assert said == report["flags"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--num_channels 64", "--num_channels 64, but the weights are of 32"),
        ("--num_res_blocks 2", "--num_res_blocks 2, but the weights are of 1"),
        ("--learn_sigma True", "--learn_sigma True, but the weights are of False"),
        ("--class_cond True", "--class_cond True, but"),
        ("--use_scale_shift_norm False", "--use_scale_shift_norm False, but"),
        ("--rgb False", "--rgb False, but"),
        ("--image_size 64", "--image_size 64 means features (1, 2, 3, 4)"),
        ("--attention_resolutions 16", "puts attention at resolutions (1,) (0: the finest)"),
        ("--num_heads 3", "--num_heads 3 does not divide"),
        ("--scale_time_dim 20 --seq_len 16", "--scale_time_dim 20 with --seq_len 16"),
        ("--noise_schedule sqrt", "'sqrt': use linear or cosine"),
        ("--timestep_respacing often", "'often': use a number of steps"),
        ("--timestep_respacing 2000", "2000 steps with 1000 noise levels"),
        ("--mask_range 0,16", "digit by digit, as range(0, 1, 6)"),
        ("--attention_resolutions a,b", "'a,b': needs sizes of feature maps"),
        ("--image_sizes 3", "--image_sizes is no flag of RaMViD's scripts; did you mean"),
        ("--num_heads four", "invalid int value: 'four'"),
        ("--rgb perhaps", "'perhaps' is neither True nor False"),
        ("--data_dir 'x", "can't be read (No closing quotation)"),
    ],
)
def test_flags_that_are_not_those_of_the_weights_are_named(
    official: Path, tmp_path: Path, capsys: Any, text: str, message: str
) -> None:
    right = {"--num_channels": "32", "--num_res_blocks": "1", "--image_size": "32"}
    right["--scale_time_dim"] = "0"
    rest = " ".join(f"{key} {value}" for key, value in right.items() if key not in text)
    out = tmp_path / "model"
    command = ["convert", "ramvid", str(official), "--out", str(out), "--flags", f"{rest} {text}"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_flags_that_change_neither_model_nor_training_are_passed_over() -> None:
    assert parse_flags("--data_dir x --model_path y --cond_frames 0, --use_fp16 True") == Flags()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"out__2__weight": None}, "lack out.2.weight"),
        ({"input_blocks__0__0__weight": torch.zeros(32)}, "not 5 axes"),
        ({"middle_block__0__in_layers__2__weight": torch.zeros(2, 2)}, "is [2, 2] here"),
        ({"middle_block__0__in_layers__2__bias": None}, "lacks middle_block.0.in_layers.2.bias"),
        ({"more": torch.zeros(1)}, "more than the network: more"),
        ({"out__2__bias": torch.full((3,), torch.nan)}, "holds NaN"),
        ({"out__2__bias": torch.zeros(3, dtype=torch.int64)}, "is no tensor of plain"),
        ({"input_blocks__2__0__op__weight": None}, "lack input_blocks.2.0.in_layers.2.weight"),
        ({"input_blocks__1__1__qkv__weight": torch.zeros(96, 32, 1)}, "lacks input_blocks.1.1.n"),
    ],
)
def test_weights_of_something_else_are_refused(
    official: Path, weights: dict[str, Tensor | None], message: str
) -> None:
    change(official, **weights)
    with pytest.raises(InputError) as refusal:
        from_ramvid(official)
    assert message in str(refusal.value)
    assert str(official) in str(refusal.value)


class Hostile:
    """What a pickle can do to whoever opens it."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("how", ["torch", "pickle", "cut", "empty", "absent", "list", "optimiser"])
def test_hostile_and_broken_files_are_refused(official: Path, how: str) -> None:
    match how:
        case "torch":
            torch.save({"x": Hostile()}, official)
        case "pickle":
            official.write_bytes(pickle.dumps(Hostile()))
        case "cut":
            official.write_bytes(official.read_bytes()[:5000])
        case "empty":
            official.write_bytes(b"")
        case "absent":
            official.unlink()
        case "optimiser":
            torch.save({"state": {}, "param_groups": []}, official)
        case "list":
            torch.save([1, 2], official)
    with pytest.raises(
        InputError,
        match=r"can't be read|is no file|no weights by name|optimiser's state: give an official",
    ):
        from_ramvid(official)


def test_a_training_goes_there_and_back_and_on_as_if_it_had_stayed(
    videos: Path, tmp_path: Path
) -> None:
    config = small(loss=MaskedLoss(), precision="float32")
    longer = replace(config, optim=replace(config.optim, steps=3))
    train(longer, out=tmp_path / "whole", data=videos, progress=False)
    train(config, out=tmp_path / "here", data=videos, progress=False)
    there, back = tmp_path / "there", tmp_path / "back"
    assert main(["convert", "ramvid", str(tmp_path / "here"), "--out", str(there), "--run"]) == 0
    names = {path.name for path in there.iterdir()}
    assert names == {"model000002.pt", "ema_0.9_000002.pt", "ema_0.5_000002.pt", "opt000002.pt"}
    flags = f"{to_text(flags_of(config.model()))} --lr 1e-3 --ema_rate 0.9,0.5 --batch_size 1"
    command = ["convert", "ramvid", str(there / "model000002.pt"), "--out", str(back), "--run"]
    assert main([*command, "--flags", f"{flags} --seed 0", "--data", str(videos)]) == 0
    adopted = read_config(back / "config.json")
    assert adopted.masks == config.masks
    assert adopted.network == config.network
    # Three steps in all, the data as they were: what the official flags can't say is set.
    same = replace(longer, data=replace(longer.data, path=videos))
    (back / "config.json").unlink()
    write_json(back / "config.json", to_data(same))
    train(same, out=back, progress=False)
    for folder in ("model", "model-ema-0.5"):
        ours = load(tmp_path / "whole" / folder).model.network.state_dict()
        theirs = load(back / folder).model.network.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), folder


def test_the_official_optimiser_is_taken_over(tmp_path: Path, videos: Path) -> None:
    folder = recording("ramvid/train_and_checkpoint")
    out = tmp_path / "run"
    command = ["convert", "ramvid", str(folder / "model000003.pt"), "--out", str(out), "--run"]
    assert main([*command, "--flags", PARITY, "--data", str(videos)]) == 0
    ours = torch.load(out / "checkpoints" / "00000003" / "optimizer.pt", weights_only=True)
    theirs = torch.load(folder / "opt000003.pt", weights_only=True)
    for moment in ("exp_avg", "exp_avg_sq"):
        totals = [
            sum(state[moment].double().sum().item() for state in each["state"].values())
            for each in (ours, theirs)
        ]
        assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    assert {float(state["step"]) for state in ours["state"].values()} == {3.0}
    config = read_config(out / "config.json")
    assert config.optim.microbatch == 32
    assert config.optim.batch == 64
    assert config.data == VideosConfig(path=videos, height=16, width=16, fit="ramvid")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("ema_0.5_000002.pt", "no ema_0.5_000002.pt: the average of rate 0.5 starts at the last"),
        ("opt000002.pt", "no opt000002.pt: AdamW starts afresh"),
    ],
)
def test_what_a_training_lacks_starts_afresh_and_is_said(
    videos: Path, tmp_path: Path, capsys: Any, missing: str, message: str
) -> None:
    train(small(), out=tmp_path / "here", data=videos, progress=False)
    there, out = tmp_path / "there", tmp_path / "back"
    assert main(["convert", "ramvid", str(tmp_path / "here"), "--out", str(there), "--run"]) == 0
    (there / missing).unlink()
    flags = f"{to_text(flags_of(small().model()))} --ema_rate 0.9,0.5 --batch_size 1"
    command = ["convert", "ramvid", str(there / "model000002.pt"), "--out", str(out), "--run"]
    capsys.readouterr()
    assert main([*command, "--flags", flags]) == 0
    assert message in capsys.readouterr().err
    last = load(tmp_path / "here").model.network.state_dict()
    taken = load(out).model.network.state_dict()
    assert all(torch.equal(last[name], taken[name]) for name in last)
    assert (out / "model-ema-0.5").is_dir()
    again = tmp_path / "again"
    assert main(["convert", "ramvid", str(out), "--out", str(again), "--run"]) == 0
    assert (again / "opt000002.pt").is_file() == (missing != "opt000002.pt")
    assert main([*command, "--flags", flags]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("labelled", [False, True])
def test_the_command_that_is_printed_goes_on(videos: Path, tmp_path: Path, labelled: bool) -> None:
    network = replace(SMALL, classes=1000 if labelled else 0)
    config = small(
        network=network,
        data=VideosConfig(height=32, width=32, classes=("video",) if labelled else ()),
    )
    train(config, out=tmp_path / "here", data=videos, progress=False)
    there, out = tmp_path / "there", tmp_path / "back"
    assert main(["convert", "ramvid", str(tmp_path / "here"), "--out", str(there), "--run"]) == 0
    flags = f"{to_text(flags_of(config.model()))} --batch_size 1 --save_interval 1 --ema_rate 0.9"
    flags += " --anneal_type linear --lr_anneal_steps 3"
    command = ["convert", "ramvid", str(there / "model000002.pt"), "--out", str(out), "--run"]
    assert main([*command, "--flags", flags]) == 0
    again = ["train", str(out / "config.json"), "--out", str(out), "--data", str(videos)]
    assert main(again) == 0
    assert (out / "checkpoints" / "00000003").is_dir()


def test_the_flags_of_a_training_come_back() -> None:
    text = (
        "--image_size 32 --num_channels 32 --num_res_blocks 1 --scale_time_dim 0 --seq_len 8 "
        "--learn_sigma True --batch_size 4 --microbatch 1 --clip 5.0 --anneal_type linear "
        "--lr_anneal_steps 300000 --exclude_conditional False --seed 9 --weight_decay 0.05 "
        "--schedule_sampler loss-second-moment --rescale_learned_sigmas False "
        "--ema_rate 0.9999,0.99 --use_checkpoint True --lr 1e-05 --diffusion_steps 4000"
    )
    flags = parse_flags(text)
    config = training_config(flags, model_config(flags, promised_shapes(flags)), None)
    assert training_flags(config) == (flags, [])
    assert parse_flags(to_text(flags)) == flags
    for name in ("step --drop 0.5 --steps_drop 10.0", "time_based --decay 0.1"):
        flags = parse_flags(f"--scale_time_dim 0 --microbatch 64 --anneal_type {name}")
        config = training_config(flags, model_config(flags, promised_shapes(flags)), None)
        assert training_flags(config) == (flags, [])


def test_what_flags_can_not_say_is_named() -> None:
    config = small(optim=OptimConfig(warmup=7, ema_power=2.0), loss=MaskedLoss(norm="absolute"))
    _, unsaid = training_flags(config)
    named = {line.split(":")[0] for line in unsaid}
    assert named == {"optim.warmup", "optim.ema_power", "loss.norm"}


def test_models_without_attention_have_flags() -> None:
    config = small(network=replace(SMALL, attention=())).model()
    flags = flags_of(config)
    assert flags.attention_resolutions == "1"
    assert model_config(flags, promised_shapes(flags)) == config


def test_weights_that_claim_more_than_they_hold_are_refused(official: Path) -> None:
    huge = torch.zeros(1).expand(8192, 3, 3, 3, 3)
    change(official, input_blocks__0__0__weight=huge)
    with pytest.raises(InputError, match="is no tensor of plain"):
        from_ramvid(official)
    change(official, input_blocks__0__0__weight=torch.zeros(0, 3, 3, 3, 3))
    with pytest.raises(InputError, match="weights for 3 channels in and 3 out"):
        from_ramvid(official)


def test_file_names_of_any_kind_are_taken(official: Path, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"ema_\xff.pt")
    official.rename(strange)
    assert main(["convert", "ramvid", str(strange), "--out", str(tmp_path / "m")]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": replace(SMALL, multipliers=(1, 2), attention=(1,))},
            "square frames with these alone",
        ),
        ({"data": VideosConfig(height=64, width=32)}, "square frames with these alone"),
        ({"data": VideosConfig(height=32, width=32, channels=2)}, "2 channels"),
        ({"diffusion": Diffusion(predicts="velocity")}, "no model with this diffusion"),
        ({"data": DigitsConfig(size=32, glyph=16), "network": SMALL}, None),
    ],
)
def test_models_that_ramvid_does_not_know_are_refused(
    changes: dict[str, Any], message: str | None
) -> None:
    config = small(**changes).model()
    if message is None:
        assert flags_of(config).rgb is False
        return
    with pytest.raises(InputError) as refusal:
        flags_of(config)
    assert message in str(refusal.value)


def test_samplers_that_ramvid_lacks_are_left_to_its_scripts() -> None:
    config = replace(small().model(), sampler=Ddim(steps=50))
    assert flags_of(config).use_ddim
    assert flags_of(config).timestep_respacing == "50"


def test_nothing_is_overwritten(official: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "model"
    assert main(["convert", "ramvid", str(official), "--out", str(out)]) == 0
    assert main(["convert", "ramvid", str(official), "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["convert", "ramvid", str(out), "--out", str(official)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["convert", "ramvid", str(out), "--out", str(tmp_path / "x.bin")]) == 2
    assert "ends in .pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "last"], "are for MCVD's"),
        (["--data", "x"], "--data is for runs"),
        (["--run"], "is no modelNNNNNN.pt"),
        (["--run", "--overwrite"], "runs are never overwritten"),
    ],
)
def test_options_of_other_conversions_are_refused(
    official: Path, tmp_path: Path, capsys: Any, options: list[str], message: str
) -> None:
    command = ["convert", "ramvid", str(official), "--out", str(tmp_path / "m"), *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
