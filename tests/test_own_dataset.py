"""Datasets of the user's own: any object with a length and clips."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import framefill as ff
from framefill.config import Config, LogConfig, read_config
from framefill.data.own import Dataset, OwnClips, OwnConfig, checked
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.nn.config import SpaceTimeConfig
from framefill.recipes.spacetime import masks, space_time
from framefill.sampling import DpmSolver2M
from framefill.scaling import Scaling

FRAMES = 6


def tiny(**changes: Any) -> Config:
    """The space-time recipe, as small as it can be."""
    network = SpaceTimeConfig(
        width=8,
        multipliers=(1, 2),
        blocks=1,
        attention=(),
        temporal_attention=(1,),
        head_width=8,
        patch=2,
        classes=(classes := changes.pop("classes", 0)),
    )
    # Which classes there are, a dataset knows alone.
    kind = OwnConfig if classes else VideosConfig
    data = kind(height=8, width=8, channels=1)
    made = space_time(data, masks(2, 2, 2, max_known=3), network, batch=2, steps=2, lr=1e-3)
    made = replace(
        made,
        sampler=DpmSolver2M(steps=2),
        optim=replace(made.optim, warmup=0, decay=0.0),
        log=LogConfig(log_every=1, sample_every=0, save_every=1),
        precision="float32",
    )
    return replace(made, **changes)


class Mine:
    """Noise."""

    def __init__(self, clips: int = 6, *, channels: int = 1, dtype: Any = np.uint8) -> None:
        rng = np.random.default_rng(clips)
        size = (clips, FRAMES, 8, 8, channels)
        self.samples: list[Any] = [
            {"frames": frames} for frames in rng.integers(0, 256, size).astype(dtype)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def clip(self, i: int) -> Any:
        return self.samples[i]


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_fifteen_lines_are_a_dataset(tmp_path: Path) -> None:
    class Bouncing:
        def __len__(self) -> int:
            return 4

        def clip(self, i: int) -> dict[str, Any]:
            frames = np.zeros((6, 8, 8), np.float32)
            for time in range(6):
                frames[time, (i + time) % 8] = 300.0
            return {"frames": frames}

    assert isinstance(Bouncing(), Dataset)
    model = ff.train(tiny(), out=tmp_path / "run", data=Bouncing(), progress=False)
    assert [each["step"] for each in log(tmp_path / "run")] == [1, 2]
    assert all(np.isfinite(each["loss"]) for each in log(tmp_path / "run"))
    assert model.config.normaliser.high == 300
    loaded = ff.load(tmp_path / "run")
    filled = loaded.predict(Bouncing().clip(0)["frames"][:3], 2)
    assert filled.frames.shape == (1, 5, 8, 8, 1)
    assert filled.frames.dtype == np.float32
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, loaded.model.network.state_dict()[name])


def test_held_out_clips_are_drawn(tmp_path: Path) -> None:
    config = tiny(log=LogConfig(sample_every=1, save_every=1))
    ff.train(config, out=tmp_path / "run", data=Mine(), test=Mine(2), progress=False)
    drawn = sorted(path.name for path in (tmp_path / "run" / "samples").glob("*.png"))
    assert drawn == ["00000001.png", "00000002.png"]


def test_held_out_clips_are_not_drawn_where_no_pictures_are_asked_for(tmp_path: Path) -> None:
    ff.train(tiny(), out=tmp_path / "run", data=Mine(), test=Mine(2), progress=False)
    assert not list((tmp_path / "run" / "samples").iterdir())


@pytest.mark.parametrize("channels", [2, 4])
def test_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    config = tiny(log=LogConfig(sample_every=2, save_every=2))
    data, test = (Mine(n, channels=channels, dtype=np.float32) for n in (4, 2))
    model = ff.train(config, out=tmp_path / "run", data=data, test=test, progress=False)
    assert model.config.channels == channels
    filled = ff.load(tmp_path / "run").predict(data.clip(0)["frames"][:2], 1)
    assert filled.frames.shape == (1, 3, 8, 8, channels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float64"])
def test_any_kind_of_values(tmp_path: Path, dtype: str) -> None:
    data = Mine(3, dtype=dtype)
    ff.train(tiny(), out=tmp_path / "run", data=data, progress=False)
    filled = ff.load(tmp_path / "run").predict(data.clip(0)["frames"][:2], 1)
    assert filled.frames.dtype == dtype
    assert np.array_equal(filled.frames[0, :2], data.clip(0)["frames"][:2])


def clips_of(data: Dataset, *, split: Any = "train", seed: int = 0) -> OwnClips:
    return OwnClips(data, OwnConfig.of(data), frames=FRAMES, split=split, seed=seed)


def numbered(clips: int) -> Mine:
    data = Mine(clips)
    for number, sample in enumerate(data.samples):
        sample["frames"][:] = number
    return data


def test_every_clip_comes_once_in_each_epoch_in_another_order() -> None:
    data = numbered(7)
    clips = clips_of(data)
    order = [int(clips[index].flat[0]) for index in range(70)]
    epochs = [tuple(order[start : start + 7]) for start in range(0, 70, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) > 5
    again = clips_of(data)
    assert [int(again[index].flat[0]) for index in reversed(range(70))] == order[::-1]
    assert [int(clips_of(data, seed=1)[index].flat[0]) for index in range(70)] != order
    assert clips[2**40].shape == (FRAMES, 8, 8, 1)
    assert len(clips) > 2**40


def test_held_out_clips_come_in_their_own_order() -> None:
    clips = clips_of(numbered(4), split="test")
    assert [int(clips[index].flat[0]) for index in range(9)] == [0, 1, 2, 3] * 2 + [0]


def test_resumed_is_the_same_as_in_one_go(tmp_path: Path) -> None:
    data = Mine()
    longer = replace(tiny(), optim=replace(tiny().optim, steps=3))
    ff.train(longer, out=tmp_path / "whole", data=data, progress=False)
    said: list[str] = []
    ff.train(tiny(), out=tmp_path / "parts", data=data, progress=False)
    ff.train(longer, out=tmp_path / "parts", data=data, progress=False, say=said.append)
    assert said == ["going on at step 2 of 3"]
    whole, parts = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    losses = [[each["loss"] for each in log(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


def test_worker_processes_give_the_same_clips(tmp_path: Path) -> None:
    data = Mine()
    for name, workers in (("none", 0), ("two", 2)):
        ff.train(tiny(workers=workers), out=tmp_path / name, data=data, progress=False)
    assert [each["loss"] for each in log(tmp_path / "none")] == [
        each["loss"] for each in log(tmp_path / "two")
    ]


def test_a_run_on_a_dataset_goes_on_with_a_dataset_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ff.train(tiny(), out=run, data=Mine(), progress=False)
    stored = read_config(run / "config.json")
    assert stored.data == OwnConfig(height=8, width=8, channels=1)
    with pytest.raises(InputError, match="trained on a Python object: pass it again"):
        ff.train(stored, out=run, progress=False)
    with pytest.raises(InputError, match="trained on a Python object, not on"):
        ff.train(stored, out=run, data=tmp_path, progress=False)
    card = (run / "model" / "README.md").read_text()
    assert "digits" not in card.split("## Settings")[0]


def test_labels_reach_the_network(tmp_path: Path) -> None:
    losses, config = [], tiny(classes=2)
    # The output is 0 at first, whatever the network is told.
    config = replace(config, optim=replace(config.optim, steps=4, lr=0.02))
    for name, labels in (("a", (0, 1, 0, 1)), ("b", (1, 0, 0, 1))):
        data = Mine(4)
        for sample, label in zip(data.samples, labels, strict=True):
            sample["label"] = label
        ff.train(config, out=tmp_path / name, data=data, progress=False)
        losses.append([each["loss"] for each in log(tmp_path / name)])
    assert losses[0] != losses[1]
    model = ff.load(tmp_path / "a")
    made = [model.generate(FRAMES, label=label).frames for label in (0, 1)]
    assert not np.array_equal(*made)


def spoiled(**changes: Any) -> Mine:
    """A dataset whose second clip is not like the others."""
    data = Mine(3)
    data.samples[1] = {**data.samples[1], **changes}
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (spoiled(frames=np.zeros((5, 8, 8, 1), np.uint8)), r"clip 1 .* \(5, 8, 8, 1\) and this"),
        (spoiled(frames=np.zeros((6, 8, 9, 1), np.uint8)), r"\(6, 8, 9, 1\) and this training"),
        (spoiled(frames=np.zeros((6, 8, 8, 2), np.uint8)), r"takes \(6, 8, 8, 1\) \[f h w c\]"),
        (
            spoiled(frames=np.zeros((6, 8), np.uint8)),
            r"clip 1 .* has shape \(6, 8\): give",
        ),
        (spoiled(frames=np.zeros((6, 8, 8), np.int64)), "clip 1 .* dtype int64: convert"),
        (spoiled(frames=np.zeros((6, 8, 8), complex)), "dtype complex128: convert"),
        (spoiled(frames=np.zeros((6, 8, 8), np.float32)), "clip 1 .*float32.*uint8"),
        (spoiled(frames=None), "clip 1 .* dtype object: convert"),
        (spoiled(frame=1), r"clip 1 of the dataset has 'frame': a clip has frames, label"),
        (
            spoiled(conditions={"a": np.zeros((6, 2))}),
            r"clip 1 .* has conditions .*'a'.* and the first one",
        ),
        (spoiled(label=1), "clip 1 .*label"),
    ],
)
def test_clips_that_are_not_like_the_first_are_refused(
    data: Mine, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ff.train(tiny(), out=tmp_path / "run", data=data, progress=False)


def conditioned(value: Any, *, clips: tuple[int, ...] = (0, 1, 2)) -> Mine:
    data = Mine(3)
    for number, sample in enumerate(data.samples):
        usual = np.zeros((FRAMES, 2), np.float32) + number
        sample["conditions"] = {"a": value if number in clips else usual}
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (conditioned(np.zeros(6)), r"condition 'a' of clip \d has shape \(6,\): give \[f k\]"),
        (conditioned(np.zeros((5, 2))), r"condition 'a' of clip \d has shape \(5, 2\): give"),
        (conditioned(np.zeros((5, 8, 8, 1))), r"clip \d has shape \(5, 8, 8, 1\): give"),
        (conditioned(np.zeros((6, 4, 4, 1))), r"clip \d has shape \(6, 4, 4, 1\)"),
        (conditioned(np.zeros((4, 4, 1))), r"clip \d has shape \(4, 4, 1\)"),
        (conditioned(np.zeros((6, 3)), clips=(1,)), r"clip 1 .*'a'.*\(6, 3\)"),
        (conditioned(np.zeros((8, 8, 2)), clips=(1,)), r"clip 1 .*'a'.*\(8, 8, 2\)"),
        (conditioned("left"), "clip 0 .* numbers .*'left'.* a dict of arrays"),
    ],
)
def test_conditions_that_do_not_go_with_the_frames_are_refused(
    data: Mine, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ff.train(tiny(), out=tmp_path / "run", data=data, progress=False)


def test_conditions_may_come_in_any_order(tmp_path: Path) -> None:
    data = Mine(3)
    for number, sample in enumerate(data.samples):
        both = {"a": np.zeros((FRAMES, 1)) + number, "b": np.ones((FRAMES, 1)) + number}
        names = ("a", "b") if number else ("b", "a")
        sample["conditions"] = {name: both[name] for name in names}
    ff.train(tiny(), out=tmp_path / "run", data=data, progress=False)


@pytest.mark.parametrize(
    ("label", "classes", "message"),
    [
        (2, 2, "label 2"),
        (-1, 2, "label -1"),
        ("dog", 2, "label 'dog'"),
        (1.5, 2, r"label 1\.5"),
        (0, 0, "label"),  # a network without classes
        (None, 2, "label"),  # a network with classes
    ],
)
def test_labels_that_do_not_go_with_the_network_are_refused(
    label: Any, classes: int, message: str, tmp_path: Path
) -> None:
    data = Mine(3)
    for sample in data.samples:
        if label is not None:
            sample["label"] = label
    with pytest.raises(InputError, match=message):
        ff.train(tiny(classes=classes), out=tmp_path / "run", data=data, progress=False)


def test_a_dataset_without_clips_or_without_dicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the dataset has no clips: its __len__ is 0"):
        ff.train(tiny(), out=tmp_path / "run", data=Mine(0), progress=False)
    bare = Mine(2)
    bare.samples = [sample["frames"] for sample in bare.samples]
    with pytest.raises(InputError, match="clip 0 of the dataset is a ndarray: return a dict with"):
        ff.train(tiny(), out=tmp_path / "run", data=bare, progress=False)
    with pytest.raises(InputError, match="test= is a dataset for data= that is one"):
        ff.train(tiny(), out=tmp_path / "run", data=tmp_path, test=Mine(), progress=False)
    with pytest.raises(InputError, match="test= is a dataset for data= that is one"):
        ff.train(tiny(), out=tmp_path / "run", test=Mine(), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", [np.zeros((6, 8, 8, 1)), Mine])
def test_what_is_no_dataset_is_refused(data: Any, tmp_path: Path) -> None:
    """An array, a class instead of one of its objects."""
    with pytest.raises(InputError, match=r"is a class: give a dataset|is an array: save it as"):
        ff.train(tiny(), out=tmp_path / "run", data=data, progress=False)


def test_values_out_of_range_are_refused_before_a_run_begins(tmp_path: Path) -> None:
    config = tiny(scaling=Scaling(by="given"))
    data = Mine(2, dtype=np.float32)
    for sample in data.samples:
        sample["frames"] = sample["frames"] * 9
    with pytest.raises(InputError, match=r"values reach .* trained on 0\.\.255"):
        ff.train(config, out=tmp_path / "run", data=data, progress=False)
    assert not (tmp_path / "run").exists()


def test_epochs_count_each_condition_of_each_clip_once() -> None:
    data = conditioned(np.zeros((FRAMES, 2)), clips=())
    clips = clips_of(data)
    footage = clips.footage
    assert [each.length for each in footage] == [FRAMES] * 3
    assert [int(each.tracks["a"].reader([0, 1])[1, 0]) for each in footage] == [0, 1, 2]
    found = Counter(int(clips.clip(index)["conditions"]["a"][0, 0]) for index in range(6))
    assert found == {0: 2, 1: 2, 2: 2}
    assert np.array_equal(footage[1].take([1, 4]), data.clip(1)["frames"][[1, 4]])


def test_gray_frames_need_no_channel_axis_and_missing_frames_are_kept() -> None:
    data = Mine(1)
    frames = np.full((FRAMES, 8, 8), np.nan, np.float32)
    data.samples[0] = {"frames": frames}
    found = checked(data, 0)["frames"]
    assert found.shape == (FRAMES, 8, 8, 1)
    assert np.isnan(found).all()
