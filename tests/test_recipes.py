"""Recipes against what the official code builds from its own files."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from parity import recording

from framefill.cli import main
from framefill.costs import cost
from framefill.errors import InputError
from framefill.fill import load
from framefill.masks import BlockMasks
from framefill.nn.config import ConcatConfig, Mcvd3dConfig, SpatinConfig
from framefill.planning import tasks
from framefill.recipes import RECIPES, recipe
from framefill.recipes.official import official_run
from framefill.serialise import from_data, to_data

OFFICIAL_PARAMETERS = {  # of the networks that the official code builds
    "smmnist-concat-prediction": 27_941_765,
    "smmnist-spatin-prediction": 53_953_989,
    "smmnist-3d": 1_235_041,
    "smmnist-pseudo3d": 968_669,
    "kth-concat-prediction": 62_831_141,
    "kth-spatin-prediction": 367_650_437,
    "kth-spatin-96": 102_005_669,
    "bair-concat-96": 62_844_975,
    "bair-spatin-96": 101_760_303,
    "bair-small": 4_335_390,
    "cityscapes-concat-128": 116_551_695,
    "cityscapes-spatin-192": 432_180_623,
    "cityscapes-small": 4_254_470,
    "ucf101-mcvd-192": 251_174_988,
}
OFFICIAL_MILLIONS = {  # where only these are known
    "bair-concat-prediction": 251.17,
    "bair-spatin-prediction": 328.60,
    "cityscapes-concat": 262.13,
    "cityscapes-spatin": 579.16,
    "ucf101-mcvd": 564.99,
    "ucf101-mcvd-spatin": 739.44,
}


@pytest.mark.parametrize("name", [*OFFICIAL_PARAMETERS, *OFFICIAL_MILLIONS])
def test_networks_are_as_large_as_the_official_ones(name: str) -> None:
    parameters = cost(recipe(name).model()).parameters
    if name in OFFICIAL_PARAMETERS:
        assert parameters == OFFICIAL_PARAMETERS[name]
    else:
        assert round(parameters / 1e6, 2) == OFFICIAL_MILLIONS[name]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name: str) -> None:
    config = recipe(name)
    assert from_data(to_data(config), type(config), source=name) == config


@pytest.mark.parametrize("name", ["smmnist-concat", "kth-spatin", "bair-concat"])
def test_general_recipes_do_all_tasks(name: str) -> None:
    assert set(tasks(recipe(name).masks)) == {"predict", "rewind", "interpolate", "generate"}


PUBLISHED = {  # past, target, width, head width, hidden, dropout, lr, warm-up, batch
    "smmnist-concat-prediction": (5, 5, 64, 64, None, 0.1, 2e-4, 1000, 64),
    "smmnist-spatin-prediction": (5, 5, 64, 64, 128, 0.1, 2e-4, 1000, 64),
    "smmnist-3d": (5, 2, 12, None, 0, 0.1, 2e-4, 1000, 64),
    "smmnist-pseudo3d": (5, 2, 12, None, 0, 0.1, 2e-4, 1000, 64),
    "kth-concat-prediction": (10, 5, 96, 96, None, 0.1, 2e-4, 5000, 64),
    "kth-spatin-prediction": (10, 5, 192, 96, 192, 0.1, 2e-4, 5000, 64),
    "kth-spatin-96": (10, 5, 96, 96, 128, 0.1, 2e-4, 5000, 64),
    "bair-concat-prediction": (2, 5, 192, 192, None, 0.1, 1e-4, 5000, 64),
    "bair-spatin-prediction": (2, 5, 192, 192, 128, 0.1, 1e-4, 5000, 64),
    "bair-concat-96": (2, 5, 96, 96, None, 0.1, 1e-4, 5000, 64),
    "bair-spatin-96": (2, 5, 96, 96, 128, 0.1, 1e-4, 5000, 64),
    "bair-small": (2, 10, 32, 64, None, 0.1, 1e-4, 5000, 32),
    "cityscapes-concat": (2, 5, 192, 192, None, 0.0, 1e-4, 5000, 32),
    "cityscapes-spatin": (2, 5, 256, 256, 128, 0.0, 1e-4, 5000, 16),
    "cityscapes-concat-128": (2, 5, 128, 128, None, 0.0, 1e-4, 5000, 64),
    "cityscapes-spatin-192": (2, 5, 192, 192, 256, 0.0, 1e-4, 5000, 32),
    "cityscapes-small": (2, 2, 32, 64, None, 0.0, 1e-4, 5000, 32),
    "ucf101-mcvd": (4, 4, 288, 288, None, 0.1, 1e-4, 5000, 32),
    "ucf101-mcvd-spatin": (4, 4, 288, 288, 192, 0.1, 1e-4, 5000, 32),
    "ucf101-mcvd-192": (4, 4, 192, 96, None, 0.1, 1e-4, 5000, 64),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name: str) -> None:
    config = recipe(name)
    masks, network, optim = config.masks, config.network, config.optim
    assert isinstance(masks, BlockMasks)
    assert isinstance(network, ConcatConfig | SpatinConfig | Mcvd3dConfig)
    assert (
        *(masks.past, masks.target, network.width, network.head_width),
        *(getattr(network, "hidden", None), network.dropout),
        *(optim.lr, optim.warmup, optim.batch),
    ) == PUBLISHED[name]
    size = config.data.height
    attended = {size >> level for level in network.attention}
    assert attended == ({16} if "3d" in name else {8, 16, 32} if "small" not in name else attended)
    assert size == (128 if "cityscapes" in name else 64)
    assert config.data.channels == (1 if "smmnist" in name or "kth" in name else 3)
    assert getattr(config.data, "flip", False) == ("smmnist" not in name)


def test_published_training_values() -> None:
    for name in PUBLISHED:
        config = recipe(name)
        assert config.precision == "float32"
        assert config.optim.betas == (0.9, 0.999)
        assert (config.optim.clip_norm, config.optim.ema, config.optim.eps) == (1.0, 0.999, 1e-8)
        assert (config.loss.reduction, config.loss.norm) == ("half_sum", "squared")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The official config of smmnist_DDPM_big5, in so far as it is read."""
    small = yaml.safe_load((recording("mcvd/t_train_ckpt") / "config.yml").read_text())
    small["data"] |= {"image_size": 64, "num_frames": 5, "num_frames_cond": 5}
    small["data"] |= {"num_frames_future": 0, "prob_mask_cond": 0.0, "prob_mask_future": 0.0}
    small["model"] |= {"ngf": 64, "ch_mult": [1, 2, 3, 4], "num_res_blocks": 2, "dropout": 0.1}
    small["model"] |= {"attn_resolutions": [8, 16, 32], "n_head_channels": 64}
    small["optim"] |= {"warmup": 1000}
    small["training"] |= {"batch_size": 64}
    path = tmp_path / "smmnist_DDPM_big5.yml"
    path.write_text(yaml.safe_dump(small))
    return path


def test_an_official_config_is_the_recipe_of_its_name(official: Path) -> None:
    ours = recipe("smmnist-concat-prediction")
    assert replace(official_run(official), sampler=ours.sampler) == ours


def test_an_official_config_trains_by_its_file_name(official: Path, tmp_path: Path) -> None:
    command = ["train", str(official), "--out", str(tmp_path / "run"), "--optim.steps", "1"]
    command += ["--optim.batch", "1", "--log.sample-every", "0", "--network.width", "8"]
    command += ["--network.head-width", "8", "--data.size", "32", "--data.glyph", "16"]
    assert main(command) == 0
    assert load(tmp_path / "run").tasks == {"predict": 5}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("optim", "weight_decay", 0.1),
        ("optim", "amsgrad", True),
        ("optim", "optimizer", "SGD"),
        ("model", "ema", False),
        ("training", "batch_size", "many"),
        ("model", "gamma", True),
    ],
)
def test_official_settings_that_mean_nothing_here_are_refused(
    official: Path, section: str, key: str, value: object
) -> None:
    data = yaml.safe_load(official.read_text())
    data[section][key] = value
    official.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match=f"{section}.{key}"):
        official_run(official)


def test_the_list_has_a_line_with_cost_and_source_for_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: RECIPES[name] for name in ("digits", "smmnist-3d")}
    monkeypatch.setattr("framefill.cli.RECIPES", few)
    assert main(["recipes"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["recipe", "parameters", "memory"]
    assert [line.split()[0] for line in lines] == list(few)
    assert "1,235,041" in lines[1]
    assert "smmnist_DDPM_small5_3d_32Gb" in lines[1]


def test_memory_is_counted_with_what_autograd_keeps() -> None:
    price = cost(recipe("smmnist-3d").model())
    assert price.state_bytes == 20 * price.parameters
    assert price.clip_bytes > 10 * 64 * 64 * 7 * 12 * 4  # ten maps of the finest resolution
