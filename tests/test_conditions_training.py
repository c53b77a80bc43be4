"""Conditions from a file beside the videos through training to filling."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_own_dataset import FRAMES, log, tiny

import framefill as ff
from framefill.conditions import Condition, hidden, in_model_range
from framefill.config import Config, read_config
from framefill.data.video import Video
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.fill import Filler
from framefill.masks import BlockMasks
from framefill.model import Model
from framefill.nn.config import ConcatConfig
from framefill.run import train
from framefill.told import Told
from framefill.training import TrainState

NAMES = ("speed", "wind", "terrain")
LENGTH = 9


def conditions(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "speed": rng.normal(100, 20, (LENGTH, 2)).astype(np.float32),
        "wind": rng.normal(-3, 1, (LENGTH, 8, 8, 1)).astype(np.float32),
        "terrain": rng.normal(500, 90, (8, 8)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of gray images, each with its conditions beside it."""
    path = tmp_path_factory.mktemp("data")
    for number, part in enumerate(("train", "train", "test")):
        (path / part).mkdir(exist_ok=True)
        frames = np.random.default_rng(number).integers(0, 256, (LENGTH, 8, 8, 1), dtype=np.uint8)
        np.save(path / part / f"v{number}.npy", frames)
        np.savez(path / part / f"v{number}.conditions.npz", **conditions(number))
    return path


def config(**changes: Any) -> Config:
    data = {"height": 8, "width": 8, "channels": 1, "conditions": NAMES, **changes.pop("data", {})}
    return tiny(data=VideosConfig(**data), **changes)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    asked = config(data={"condition_dropout": (0.1, 0.2, 0.0)})
    asked = replace(asked, log=replace(asked.log, sample_every=2))
    train(asked, out=out, data=folder, progress=False)
    return out


@pytest.fixture(scope="module")
def filler(run: Path) -> Filler:
    """The model of the run, whose output depends on what it is told as a trained one's does."""
    model = ff.load_model(run / "model")
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=rng)
    return Filler(model)


def test_conditions_are_measured_stored_and_loaded(run: Path, folder: Path) -> None:
    speed, wind, terrain = read_config(run / "config.json").conditions
    assert [(c.name, c.kind, c.size) for c in (speed, wind, terrain)] == [
        ("speed", "vector", 2),
        ("wind", "map", 1),
        ("terrain", "static", 1),
    ]
    assert [c.dropout for c in (speed, wind, terrain)] == [0.1, 0.2, 0.0]
    both = np.concatenate([conditions(n)["speed"] for n in range(2)])  # of the training videos
    assert speed.offset == pytest.approx(both.mean(axis=0), rel=1e-5)
    assert speed.scale == pytest.approx(both.std(axis=0), rel=1e-5)
    maps = np.stack([conditions(n)["terrain"] for n in range(2)])
    assert terrain.offset == (pytest.approx(maps.mean(), rel=1e-5),)
    loaded = ff.load(run).model.config
    assert loaded.conditions == (speed, wind, terrain)
    assert (run / "samples" / "00000002.png").is_file()
    assert all(np.isfinite(line["loss"]) for line in log(run))


def test_a_run_goes_on_with_its_conditions(run: Path, folder: Path) -> None:
    stored = read_config(run / "config.json")
    more = replace(stored, optim=replace(stored.optim, steps=3))
    model = train(more, out=run, data=folder, progress=False)
    assert model.config.conditions == stored.conditions
    other = replace(more, data=replace(more.data, condition_dropout=(0.5,)))
    with pytest.raises(InputError, match=r"holds a run of another config .*condition_dropout"):
        train(other, out=run, data=folder, progress=False)


def test_training_tells_the_network(folder: Path, tmp_path: Path) -> None:
    """The same frames with other conditions have another loss."""
    other = shutil.copytree(folder, tmp_path / "other")
    first, second = (other / "train" / f"v{number}.conditions.npz" for number in range(2))
    first.rename(tmp_path / "first.npz")
    second.rename(first)
    (tmp_path / "first.npz").rename(second)
    asked = config(data={"condition_dropout": (0.0,)})
    # The output is 0 at first, whatever the network is told.
    asked = replace(asked, optim=replace(asked.optim, steps=4, lr=0.02))
    losses = []
    for name, data in (("one", folder), ("swapped", other)):
        train(asked, out=tmp_path / name, data=data, progress=False)
        losses.append([line["loss"] for line in log(tmp_path / name)])
    assert losses[0][0] == losses[1][0]
    assert losses[0] != losses[1]


def test_a_condition_is_hidden_as_a_whole_and_as_often_as_asked() -> None:
    known = (
        Condition(name="a", kind="vector", size=2, dropout=0.25),
        Condition(name="b", kind="map", size=1, dropout=0.0),
        Condition(name="c", kind="static", size=1, dropout=0.9),
    )
    told = {
        "a": torch.ones(2000, 3, 2),
        "b": torch.ones(2000, 3, 1, 2, 2),
        "c": torch.ones(2000, 1, 1, 2, 2),
    }
    kept = hidden(told, known, 2000, slice(0, 2000), torch.Generator().manual_seed(0))
    gone = {name: value.isnan().flatten(1) for name, value in kept.items()}
    for name, missing in gone.items():
        assert (missing.all(dim=1) == missing.any(dim=1)).all(), name
    assert gone["a"][:, 0].float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert not gone["b"].any()
    assert gone["c"][:, 0].float().mean().item() == pytest.approx(0.9, abs=0.03)
    together = (gone["a"][:, 0] & gone["c"][:, 0]).float().mean().item()
    assert together == pytest.approx(0.225, abs=0.04)  # each by itself
    assert told["a"].eq(1).all()


def test_values_are_scaled_one_by_one() -> None:
    speed = Condition(name="a", kind="vector", size=2, offset=(1, 10), scale=(2, 5))
    scaled = in_model_range(speed, torch.tensor([[[3.0, 5.0], [torch.nan, 10.0]]]))
    assert scaled[0, 0].tolist() == [1, -1]
    assert scaled[0, 1].isnan().tolist() == [True, False]
    wind = Condition(name="b", kind="map", size=2, offset=(0, 1))
    assert in_model_range(wind, torch.zeros(3, 4, 5, 6, 2)).shape == (3, 4, 2, 5, 6)
    terrain = Condition(name="c", kind="static", size=2)
    assert in_model_range(terrain, torch.zeros(3, 5, 6, 2)).shape == (3, 1, 2, 5, 6)


def given(**changes: Any) -> dict[str, Any]:
    """Conditions of a video of five frames, as `predict` takes them."""
    made = conditions(7)
    whole = {
        "speed": made["speed"][:5],
        "wind": made["wind"][:5],
        "terrain": made["terrain"][..., None],
    }
    return {**whole, **changes}


HISTORY = np.random.default_rng(3).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


def predicted(filler: Filler, **changes: Any) -> np.ndarray:
    told = {name: value for name, value in given(**changes).items() if value is not None}
    frames: np.ndarray = filler.predict(HISTORY, 2, conditions=told).frames[0, 3:]
    return frames


@pytest.mark.parametrize("name", NAMES)
def test_conditions_decide_what_is_filled(filler: Filler, name: str) -> None:
    usual = predicted(filler)
    assert np.array_equal(usual, predicted(filler))
    other = conditions(8)[name]
    other = other[..., None] if name == "terrain" else other[:5]
    assert not np.array_equal(usual, predicted(filler, **{name: other}))


@pytest.mark.parametrize("name", ["speed", "wind"])
def test_conditions_of_the_filled_frames_count_too(filler: Filler, name: str) -> None:
    later = given()[name].copy()
    later[3:] += 50
    assert not np.array_equal(predicted(filler), predicted(filler, **{name: later}))


@pytest.mark.parametrize("name", ["speed", "wind"])
def test_conditions_that_end_with_the_history_are_unknown_afterwards(
    filler: Filler, name: str
) -> None:
    known = given()[name]
    unknown = known.copy()
    unknown[3:] = np.nan
    short = predicted(filler, **{name: known[:3]})
    assert np.array_equal(short, predicted(filler, **{name: unknown}))
    assert not np.array_equal(short, predicted(filler))
    zero = known.copy()  # which isn't the same as the mean
    zero[3:] = np.array([c.offset for c in filler.model.config.conditions if c.name == name])
    assert not np.array_equal(short, predicted(filler, **{name: zero}))


def test_conditions_may_be_left_out_if_training_ever_hid_them(filler: Filler) -> None:
    without = predicted(filler, speed=None)
    hidden_speed = np.full((5, 2), np.nan, np.float32)
    assert np.array_equal(without, predicted(filler, speed=hidden_speed))
    assert not np.array_equal(without, predicted(filler))
    match = r"never without 'terrain' in training \(dropout 0\): give it, conditions=\{'terrain'"
    with pytest.raises(InputError, match=match):
        predicted(filler, terrain=None)
    with pytest.raises(InputError, match="never without 'terrain'"):
        filler.generate(FRAMES)


def test_conditions_of_a_video_are_used_unless_others_are_given(filler: Filler) -> None:
    own = {"speed": given()["speed"][:3], "wind": given()["wind"][:3], "unknown": np.zeros((3, 1))}
    video = Video(HISTORY, conditions={**own, "terrain": given()["terrain"]})
    found = filler.predict(video, 2).frames[0, 3:]
    assert np.array_equal(found, predicted(filler, speed=own["speed"], wind=own["wind"]))
    other = filler.predict(video, 2, conditions={"speed": given()["speed"]}).frames[0, 3:]
    assert np.array_equal(other, predicted(filler, wind=own["wind"]))
    back = filler.rewind(video, 2).frames[0, :2]
    late = {name: np.full((5, *own[name].shape[1:]), np.nan) for name in ("speed", "wind")}
    for name, values in late.items():
        values[2:] = own[name]
    asked = given(**late)
    assert np.array_equal(back, filler.rewind(HISTORY, 2, conditions=asked).frames[0, :2])


def test_samples_share_the_conditions(filler: Filler) -> None:
    alone = filler.predict(HISTORY, 2, conditions=given(), samples=3, batch=1).frames
    together = filler.predict(HISTORY, 2, conditions=given(), samples=3, batch=3).frames
    assert np.abs(alone.astype(int) - together).max() <= 1
    assert not np.array_equal(alone[0], alone[1])


def test_long_videos_are_told_the_conditions_of_each_window(filler: Filler) -> None:
    """Those of the last frames reach the last window."""
    speed = np.tile(given()["speed"], (3, 1))[:11]
    told = {**given(), "speed": speed, "wind": given()["wind"]}
    usual = filler.predict(HISTORY, 8, conditions=told).frames[0]
    changed = speed.copy()
    changed[10:] += 80
    late = filler.predict(HISTORY, 8, conditions={**told, "speed": changed}).frames[0]
    assert np.array_equal(usual[:5], late[:5])
    assert not np.array_equal(usual[10], late[10])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sped": np.zeros((5, 2))}, "no condition 'sped'; did you mean 'speed'"),
        ({"speed": np.zeros((5, 3))}, r"'speed' has shape \(5, 3\) and the video needs \(5, 2\)"),
        ({"speed": np.zeros((6, 2))}, r"\(6, 2\) .* a vector of 2, one for each frame"),
        ({"speed": np.zeros(5)}, r"'speed' has shape \(5,\) and the video needs \(5, 2\)"),
        ({"wind": np.zeros((5, 4, 4, 1))}, r"\(5, 4, 4, 1\) and the video needs \(5, 8, 8, 1\)"),
        ({"terrain": np.zeros((4, 8, 1))}, r"\(4, 8, 1\) and the video needs \(8, 8, 1\): a stat"),
        ({"speed": np.array([["a", "b"]] * 5)}, "'speed'"),
        ({"speed": np.full((5, 2), np.inf)}, "'speed'.*infinite"),
    ],
)
def test_conditions_that_do_not_fit_the_model_are_refused(
    filler: Filler, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        predicted(filler, **changes)


def test_published_networks_take_no_conditions() -> None:
    match = "conditions speed, wind, terrain: the published networks take none; train one of"
    with pytest.raises(InputError, match=match):
        config(
            masks=BlockMasks(past=2, target=2),
            network=ConcatConfig(width=8, multipliers=(1,), blocks=1, attention=()),
        )


def test_models_without_conditions_take_none() -> None:
    plain = tiny()
    state = TrainState.start(plain, torch.device("cpu"))
    filler = Filler(Model(state.network.eval(), plain.model()))
    with pytest.raises(InputError, match="no condition 'speed'; the model knows none"):
        filler.predict(HISTORY, 2, conditions={"speed": np.zeros((5, 2))})
    video = Video(HISTORY, conditions={"speed": np.zeros((3, 2), np.float32)})
    assert filler.predict(video, 1).frames.shape == (1, 4, 8, 8, 1)  # those of a file don't matter


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "condition 'a' of size 0: needs at least 1"),
        ({"dropout": 1.0}, r"dropout 1\.0 of condition 'a' must be at least 0 and below 1"),
        ({"dropout": -0.1}, r"dropout -0\.1 of condition 'a'"),
        ({"offset": (1.0, 2.0, 3.0)}, "condition 'a' has 3 values of offset and size 2"),
        ({"scale": (1.0, 0.0)}, r"scale \(1\.0, 0\.0\) of condition 'a' must be above 0"),
        ({"scale": ()}, "condition 'a' has 0 values of scale"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Condition(**{"name": "a", "kind": "vector", "size": 2, **fields})


def test_what_is_told_of_windows_and_parts() -> None:
    told = Told(
        valid=torch.ones(2, 3, 1, 2, 2, dtype=torch.bool),
        classes=torch.tensor([4, 5]),
        conditions={
            "a": torch.arange(6.0).reshape(1, 3, 2),
            "b": torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(2, 3, 1, 2, 2),
            "c": torch.ones(2, 1, 1, 2, 2),
        },
    )
    window = told.at([-1, 2, 1, 3])
    assert window.valid is not None
    assert window.valid[0, :, 0, 0, 0].tolist() == [False, True, True, False]
    assert window.conditions["a"][0].isnan()[:, 0].tolist() == [True, False, False, True]
    assert window.conditions["a"][0, 1:3].tolist() == [[4, 5], [2, 3]]
    assert window.conditions["b"][1, 1:3, 0, 0, 0].tolist() == [2, 1]
    assert torch.equal(window.conditions["c"], told.conditions["c"])
    part = told.of(slice(1, 2))
    assert part.classes is not None
    assert part.classes.tolist() == [5]
    assert part.conditions["a"].shape == (1, 3, 2)
    twice = told.repeated(4)
    assert twice.classes is not None
    assert twice.classes.tolist() == [4, 5, 4, 5]
    assert twice.conditions["a"].shape == (4, 3, 2)
    assert not Told()
    assert Told(conditions=told.conditions)
