"""The look at fixed held-out clips: numbers recomputed by hand, files read back."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_own_dataset import FRAMES, Mine
from test_own_dataset import tiny as space_time
from test_training import tiny

from framefill.comparison import Comparison, shown_rows
from framefill.config import Clips, Config
from framefill.data.digits import DigitsConfig
from framefill.data.own import OwnClips, OwnConfig
from framefill.data.read import read
from framefill.data.sheet import BORDER, GAP, MARKS
from framefill.data.videos import VideosConfig
from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, MixedMasks, RandomMasks
from framefill.model import Model
from framefill.nn.denoisers import telling
from framefill.normalise import Normaliser
from framefill.objective import MaskedLoss
from framefill.panels import TEXT_HEIGHT, Panel, comparison_video, sheet_rows
from framefill.planning import can_fill
from framefill.randomness import generator_for
from framefill.scaling import Scaling
from framefill.told import Told
from framefill.validation import (
    LOSS_CLIPS,
    PREVIEW_CLIPS,
    SEARCHED,
    STREAM_HELD_OUT,
    FixedClips,
    Look,
    held_out_loss,
    look,
)


def fresh(config: Config, noise: float = 0.05) -> Model:
    """A model whose network's output isn't zero, as that of a fresh one is."""
    torch.manual_seed(0)
    network = config.model().build().eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight += noise * torch.randn(weight.shape)
    return Model(network, config.model())


def looked(tmp_path: Path, config: Config, clips: Clips) -> Look:
    return look(config, fresh(config), FixedClips.of(config, clips), tmp_path, 12)


def of_dataset(*clips: Any, **changes: Any) -> tuple[Config, OwnClips]:
    """A config for a dataset with these clips, of 6 frames, and the clips in their order."""
    data = Mine(1)
    data.samples = [each if isinstance(each, dict) else {"frames": each} for each in clips]
    own = OwnConfig.of(data)
    config = replace(space_time(), data=own, **changes)
    clips = OwnClips(data, own, frames=FRAMES, split="test", seed=0)
    return config.measured(clips), clips


def gradient(channels: int = 1, *, side: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-3, 40, (FRAMES, side, side, channels)).astype(np.float32)


def test_the_loss_is_that_of_the_pieces() -> None:
    """Clip by clip, as the training draws: roles, levels, noise, of a key of the clip's own."""
    config = tiny(loss=MaskedLoss(known_level=5.0))
    model, clips = fresh(config), config.clips("test")
    losses = []
    for number in range(LOSS_CLIPS):
        generator = generator_for(config.seed, STREAM_HELD_OUT, number)
        clip = config.normaliser.to_clip(clips[number])[None]
        roles = config.masks.sample(1, generator)
        with torch.no_grad():
            losses.append(config.loss(model.network, config.diffusion, clip, roles, generator))
    found = held_out_loss(config, model, FixedClips.of(config, clips))
    assert found == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert len({round(loss.item(), 6) for loss in losses}) == LOSS_CLIPS


@pytest.mark.parametrize("microbatch", [0, 1, 3])
def test_the_loss_does_not_depend_on_how_many_clips_are_held_at_once(microbatch: int) -> None:
    config = tiny()
    other = replace(config, optim=replace(config.optim, microbatch=microbatch, batch=7))
    fixed = FixedClips.of(config, config.clips("test"))
    found, wanted = (held_out_loss(each, fresh(config), fixed) for each in (other, config))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_levels_are_drawn_evenly_where_training_draws_them_by_their_losses() -> None:
    config = tiny()
    aware = tiny(loss=MaskedLoss(levels="loss_aware"))
    fixed = FixedClips.of(config, config.clips("test"))
    model = fresh(config)
    assert held_out_loss(aware, model, fixed) == held_out_loss(config, model, fixed)


def test_a_trained_network_has_a_lower_loss() -> None:
    config = tiny()
    fixed, model = FixedClips.of(config, config.clips("test")), fresh(config, noise=0.0)
    before, clips = held_out_loss(config, model, fixed), config.clips("train")
    for step in range(40):
        generator = generator_for(step)
        frames = np.stack([clips[number] for number in range(4 * step, 4 * step + 4)])
        clip, roles = config.normaliser.to_clip(frames), config.masks.sample(4, generator)
        loss = config.loss(model.network, config.diffusion, clip, roles, generator).mean()
        gradients = torch.autograd.grad(loss, list(model.network.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.network.parameters(), gradients, strict=True):
                weight -= 1e-3 * gradient.sign()
    assert held_out_loss(config, model, fixed) < 0.8 * before


def test_two_looks_at_one_model_find_the_same(tmp_path: Path) -> None:
    config = tiny()
    first = looked(tmp_path / "a", config, config.clips("test"))
    torch.manual_seed(99)  # nothing global matters
    np.random.seed(99)
    fixed = FixedClips.of(config, config.clips("test"))
    second = look(config, fresh(config), fixed, tmp_path / "b", 700)
    assert (first.loss, first.rows) == (second.loss, second.rows)
    assert all(np.array_equal(first.pixels[task], second.pixels[task]) for task in first.pixels)
    third = look(replace(config, seed=3), fresh(config), fixed, tmp_path / "c", 700)
    assert third.loss != first.loss
    assert third.rows["predict"]["model"] != first.rows["predict"]["model"]
    assert third.rows["predict"]["linear"] == first.rows["predict"]["linear"]


def test_a_look_changes_nothing_of_a_training(tmp_path: Path) -> None:
    config = tiny()
    model, state = fresh(config), torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.network.state_dict().items()}
    look(config, model, FixedClips.of(config, config.clips("test")), tmp_path, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(model.network.state_dict()[name], weights[name]) for name in weights)
    assert all(weight.grad is None for weight in model.network.parameters())


def test_the_scores_are_those_of_the_filled_frames(tmp_path: Path) -> None:
    config = tiny()
    clips, model = config.clips("test"), fresh(config)
    found = looked(tmp_path, config, clips)
    assert list(found.rows) == ["predict", "interpolate"]
    assert list(found.rows["predict"]) == ["model", "copy_last", "nearest", "linear"]
    truth = np.stack([clips[number] for number in range(PREVIEW_CLIPS)]) / 255
    copied = np.square(truth[:, 2:] - truth[:, 1:2]).mean(axis=(1, 2, 3, 4))
    assert found.rows["predict"]["copy_last"]["mse"] == pytest.approx(copied.mean())
    ratio = (-10 * np.log10(copied)).mean()
    assert found.rows["predict"]["copy_last"]["psnr"] == pytest.approx(ratio)
    filled = model.fill_video(
        config.normaliser.to_clip(np.stack([clips[number] for number in range(PREVIEW_CLIPS)])),
        model.plan("KTTK"),
        [generator_for(config.seed, number) for number in range(PREVIEW_CLIPS)],
    )
    values = config.normaliser.to_frames(filled, np.dtype(np.float32)) / 255
    error = np.square(values[:, 1:3] - truth[:, 1:3]).mean(axis=(1, 2, 3, 4))
    assert found.rows["interpolate"]["model"]["mse"] == pytest.approx(error.mean(), rel=1e-5)
    blend = np.rint(255 * (2 * truth[:, :1] + truth[:, 3:]) / 3) / 255
    assert found.rows["interpolate"]["linear"]["mse"] == pytest.approx(
        (np.square(blend - truth[:, 1:2]).mean() + _late(truth)) / 2, rel=1e-5
    )
    assert set(found.rows["predict"]["model"]) == {"psnr", "mse", "ssim"}
    json.dumps(found.rows, allow_nan=False)


def _late(truth: np.ndarray) -> float:
    blend = np.rint(255 * (truth[:, :1] + 2 * truth[:, 3:]) / 3) / 255
    return float(np.square(blend - truth[:, 2:3]).mean())


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    config = tiny()
    found = looked(tmp_path / "new" / "samples", config, config.clips("test"))
    names = sorted(path.name for path in (tmp_path / "new" / "samples").iterdir())
    assert names == ["00000012-interpolate.mp4", "00000012-predict.mp4", "00000012.png"]
    assert found.sheet is not None
    with Image.open(found.sheet) as sheet:
        assert np.array_equal(np.asarray(sheet), found.sheet_pixels)
    assert list(found.videos) == ["predict", "interpolate"]
    for task, path in found.videos.items():
        video = read(path)
        assert video.frames.shape == found.pixels[task].shape
        assert video.frames.shape[0] == config.masks.frames
        assert np.abs(video.frames.astype(int) - found.pixels[task]).mean() < 4


def test_the_same_step_replaces_its_files_and_no_others(tmp_path: Path) -> None:
    config = tiny()
    fixed = FixedClips.of(config, config.clips("test"))
    look(config, fresh(config), fixed, tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    look(config, fresh(config, noise=0.2), fixed, tmp_path, 1)
    look(config, fresh(config), fixed, tmp_path, 2)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(after) == 2 * len(before) == 6
    assert all(after[name] != before[name] for name in before)


def test_a_folder_in_the_way_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "00000012.png").mkdir()
    config = tiny()
    with pytest.raises(InputError, match=r"00000012\.png"):
        looked(tmp_path, config, config.clips("test"))


def test_frames_are_where_they_should_be_in_the_video() -> None:
    """Enlarged by a whole factor, in a border of the color of their marks."""
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (2, 3, 20, 24, 1), dtype=np.uint8)
    panels = [
        Panel("true", clips, "RRR", ("", "")),
        Panel("model", 255 - clips, "KTT", ("1 dB", "2 dB")),
    ]
    video = comparison_video(panels)
    assert not (np.array(video.shape[1:3]) % 2).any()
    large = clips.repeat(4, axis=2).repeat(4, axis=3).repeat(3, axis=4)
    step_y, step_x = 80 + 2 * BORDER + GAP, 96 + 2 * BORDER + GAP
    for clip in range(2):
        for column, (marks, shown) in enumerate((("RRR", large), ("KTT", 255 - large))):
            top, left = TEXT_HEIGHT + clip * step_y, GAP + column * step_x
            inner = video[:, top + BORDER :, left + BORDER :][:, :80, :96]
            assert np.array_equal(inner, shown[clip])
            edge = video[:, top, left]
            assert np.array_equal(edge, [MARKS[mark][1] for mark in marks])
            assert np.array_equal(edge, video[:, top + 85, left + 101])
            assert (video[:, top + 86 : top + 90, left] == 255).all()


@given(
    height=st.integers(1, 400), width=st.integers(1, 400), frames=st.sampled_from([1, 3, 41, 300])
)
@settings(max_examples=25, deadline=None)
def test_pictures_of_any_size_stay_small(height: int, width: int, frames: int) -> None:
    row = "K" + "T" * (frames - 1)
    pixels = np.zeros((1, 1, height, width, 1), np.uint8).repeat(frames, axis=1)
    video = comparison_video([Panel("true", pixels, row, ("",))], "channel 0")
    assert video.shape[0] == -(-frames // (2 if frames > 256 else 1))
    assert max(video.shape[1:3]) <= 160 + 60
    (line,) = sheet_rows([Panel("true", pixels, row, ("",))], "channel 0")
    assert len(line.frames) == len(line.marks) <= 40
    many = {1: "", 3: "", 41: ", 1 frame in 2", 300: ", 1 frame in 8"}[frames]
    assert line.label == f"true, channel 0{many}"


def test_of_long_clips_evenly_spaced_frames_are_shown() -> None:
    numbers = np.arange(300).reshape(1, 300, 1, 1, 1)
    pixels = np.broadcast_to(numbers % 256, (1, 300, 64, 64, 1)).astype(np.uint8)
    panel = Panel("model", pixels, "K" * 299 + "T", ("",))
    middle = comparison_video([panel])[:, TEXT_HEIGHT + BORDER, GAP + BORDER, 0]
    assert middle.tolist() == [number % 256 for number in range(0, 300, 2)]
    (row,) = sheet_rows([panel])
    assert row.frames[:, 0, 0, 0].tolist() == [number % 256 for number in range(0, 300, 8)]


def test_the_sheet_shows_the_truth_the_model_and_the_best_baseline() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 200, (2, 4, 12, 12, 1)).astype(np.float32)
    truth[:, 1:3] = (2 * truth[:, :1] + truth[:, 3:]) / 3  # as a blend would have the first
    normaliser = Normaliser(dtype="float32", high=200.0)
    found = Comparison.of(truth, truth * 0.5, "KTTK", normaliser, "channels")
    labels = [row.label for row in sheet_rows(found.panels(), found.remark)]
    assert [label.split(",")[0] for label in labels] == ["true", "model", "linear"] * 2
    error = np.square(truth[0, 1:3] * 0.5 / 200).mean()
    assert labels[1] == f"model, {-10 * math.log10(error):.1f} dB"
    ends = Comparison.of(truth, truth, "KKTT", normaliser, "channels").panels()
    assert [panel.title for panel in ends] == ["true", "model", "copy last"]
    assert [panel.marks for panel in ends] == ["RRRR", "KKTT", "KKTT"]


def test_a_perfect_filling_has_no_psnr_and_the_numbers_stay_finite() -> None:
    truth = np.zeros((2, 4, 16, 16, 1), np.uint8)
    truth[1] += np.arange(4, dtype=np.uint8)[:, None, None, None]
    found = Comparison.of(truth, truth.astype(np.float32), "KKTT", Normaliser(), "grey_bytes")
    scores = found.scores()
    assert scores["model"] == {"mse": 0, "ssim": pytest.approx(1)}
    assert "psnr" not in scores["copy_last"]  # of the first clip, which stands still
    json.dumps(scores, allow_nan=False)
    assert found.panels()[1].notes == ("inf dB", "inf dB")


def test_frames_smaller_than_its_window_have_no_ssim(tmp_path: Path) -> None:
    config, clips = of_dataset(gradient(), gradient(seed=1))
    found = looked(tmp_path, config, clips)
    assert set(found.rows["predict"]["model"]) == {"psnr", "mse"}


@pytest.mark.parametrize("channels", [2, 4])
def test_of_other_channels_than_gray_or_colors_the_first_is_shown(
    tmp_path: Path, channels: int
) -> None:
    for split, seed in (("train", 0), ("test", 1)):
        (tmp_path / split).mkdir()
        scale = np.geomspace(1, 1000, channels, dtype=np.float32)
        np.save(tmp_path / split / "a.npy", gradient(channels, side=12, seed=seed) * scale)
    data = VideosConfig(path=tmp_path, height=12, width=12, channels=channels)
    config = replace(space_time(), data=data, scaling=Scaling(low=-4000.0, high=41000.0))
    config = config.measured(config.clips("train"))
    found = looked(tmp_path / "out", config, config.clips("test"))
    assert set(found.rows["predict"]) == {"model", "copy_last", "nearest", "linear"}
    truth = read(tmp_path / "test" / "a.npy").frames
    comparison = Comparison.of(truth[None], truth[None], "KKKTTT", config.normaliser, "channels")
    assert comparison.remark == "channel 0"
    assert comparison.panels()[0].pixels.shape[-1] == 1
    assert found.sheet is not None


def test_channels_of_their_own_ranges_are_shown_in_these() -> None:
    normaliser = Normaliser(
        dtype="float32",
        offset=(0.0, 0.0),
        scale=(1.0, 1.0),
        low=0.0,
        high=1000.0,
        lows=(0.0, 0.0),
        highs=(2.0, 1000.0),
    )
    truth = np.ones((1, 2, 12, 12, 2), np.float32)
    panels = Comparison.of(truth, truth, "KT", normaliser, "channels").panels()
    assert (panels[0].pixels == 128).all()


def test_bytes_of_a_narrow_measured_range_are_shown_and_scored_as_they_are(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(30, 90, (FRAMES, 12, 12, 1)).astype(np.uint8)
    config, clips = of_dataset(frames, scaling=Scaling(by="range"))
    assert config.normaliser.dtype == "uint8"
    found = looked(tmp_path, config, clips)
    assert "ssim" in found.rows["predict"]["model"]
    whole = Comparison.of(frames[None], frames[None], "KKKTTT", config.normaliser, "channels")
    assert np.array_equal(whole.panels()[0].pixels[0], frames)


def test_clips_with_gaps_count_in_the_loss_and_are_not_filled(tmp_path: Path) -> None:
    holes = gradient(seed=1)
    holes[:, 2:5, 3] = np.nan
    lost = gradient(seed=2)
    lost[:] = np.nan
    config, clips = of_dataset(gradient(), holes, lost)
    fixed = FixedClips.of(config, clips)
    assert {number % 3 for number, _ in fixed.measured} == {0, 1}
    assert len(fixed.measured) == LOSS_CLIPS
    assert [number for number, _ in fixed.shown] == [0]
    assert fixed.note == ""
    _, others = of_dataset(gradient(), np.nan_to_num(holes, nan=7.0), lost)
    with_gaps, without = (
        held_out_loss(config, fresh(config), FixedClips.of(config, each))
        for each in (clips, others)
    )
    assert math.isfinite(with_gaps)
    assert with_gaps != without
    looked(tmp_path, config, clips)


def test_missing_pixels_are_neither_read_nor_counted() -> None:
    holes = gradient(seed=1)
    holes[:, 2:5, 3] = np.nan
    config, clips = of_dataset(gradient(), holes)
    model = fresh(config)
    fixed = FixedClips(FixedClips.of(config, clips).measured[1:2], [], "")
    generator = generator_for(config.seed, STREAM_HELD_OUT, 1)
    clip = config.normaliser.to_clip(holes)[None]
    roles, valid = config.masks.sample(1, generator), ~clip.isnan()
    network = telling(model.network, Told(valid))
    with torch.no_grad():
        wanted = config.loss(
            network, config.diffusion, clip.nan_to_num(nan=5.0), roles, generator, valid
        )
    assert held_out_loss(config, model, fixed) == pytest.approx(wanted.item(), rel=1e-5)


def test_data_full_of_gaps_has_a_loss_and_pictures_but_no_scores(tmp_path: Path) -> None:
    holes = gradient()
    holes[0, 0, 0] = np.nan
    config, clips = of_dataset(holes)
    fixed = FixedClips.of(config, clips)
    assert [number for number, _ in fixed.shown] == [0]
    assert f"first {SEARCHED} held-out clips has gaps" in fixed.note
    found = look(config, fresh(config), fixed, tmp_path / "none", 1)
    assert math.isfinite(found.loss)
    assert found.rows == {}
    assert sorted(found.videos) == ["interpolate", "predict"]
    assert found.sheet == tmp_path / "none" / "00000001.png"


def test_data_without_anything_to_fill_is_refused() -> None:
    config, _ = of_dataset(gradient())
    _, clips = of_dataset(np.full_like(gradient(), np.nan), scaling=Scaling(by="given"))
    with pytest.raises(InputError, match="none has a frame to fill"):
        FixedClips.of(config, clips)


def test_few_clips_are_shown_once_and_measured_often() -> None:
    config, clips = of_dataset(gradient(), gradient(seed=1))
    fixed = FixedClips.of(config, clips)
    assert [number for number, _ in fixed.shown] == [0, 1]
    assert [number for number, _ in fixed.measured] == list(range(LOSS_CLIPS))
    digits = tiny().clips("test")
    assert len(FixedClips.of(tiny(), digits).shown) == PREVIEW_CLIPS


def test_the_network_is_told_classes_and_conditions(tmp_path: Path) -> None:
    """All of them, none hidden: other ones give another loss and other frames."""

    def dataset(label: int, speed: float) -> tuple[Config, OwnClips]:
        base = space_time(classes=2)
        data = Mine(1)
        tracks = {"speed": np.linspace(0, speed, FRAMES, dtype=np.float32)[:, None]}
        data.samples = [{"frames": gradient(), "label": label, "conditions": tracks}]
        own = OwnConfig.of(data, (0.9,))
        clips = OwnClips(data, own, frames=FRAMES, split="test", seed=0, classes=2)
        return replace(base, data=own), clips

    config, clips = dataset(0, 1.0)
    config = config.measured(clips)
    found = looked(tmp_path, config, clips)
    assert looked(tmp_path, config, dataset(0, 1.0)[1]).loss == found.loss
    for label, speed in ((1, 1.0), (0, 3.0)):
        other = looked(tmp_path, config, dataset(label, speed)[1])
        assert other.loss != found.loss
        assert other.rows["predict"]["model"] != found.rows["predict"]["model"]


def test_held_out_clips_unlike_the_training_data_are_refused(tmp_path: Path) -> None:
    config, _ = of_dataset(gradient())
    _, clips = of_dataset(gradient() * 100)
    with pytest.raises(InputError, match="values reach"):
        looked(tmp_path, config, clips)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    config = tiny()
    model, fixed = fresh(config), FixedClips.of(config, config.clips("test"))
    next(iter(model.network.parameters())).data.fill_(math.nan)
    with pytest.raises(InputError, match="diverged"):
        look(config, model, fixed, tmp_path, 1)


def test_a_model_of_nothing_given_is_shown_without_scores(tmp_path: Path) -> None:
    masks = BlockMasks(past=0, target=FRAMES)
    config = replace(space_time(), masks=masks, data=DigitsConfig(size=16, glyph=8, speed=1))
    found = looked(tmp_path, config, config.clips("test"))
    assert found.rows == {}
    assert list(found.videos) == ["generate"]
    assert found.sheet is not None


PARTS = st.one_of(
    st.builds(
        BlockMasks,
        past=st.integers(0, 4),
        target=st.integers(1, 4),
        future=st.integers(0, 3),
        drop_past=st.sampled_from([0.0, 0.5]),
        drop_future=st.sampled_from([0.0, 0.5]),
    ),
    st.builds(
        ContextMasks, past=st.integers(0, 4), target=st.integers(1, 3), future=st.integers(0, 4)
    ),
    st.builds(RandomMasks, frames=st.integers(4, 8), max_known=st.integers(1, 3)),
)


@given(PARTS)
@settings(max_examples=60, deadline=None)
def test_there_is_something_to_show_of_any_masks(masks: Any) -> None:
    for each in (masks, MixedMasks(parts=(masks,), weights=(1.0,))):
        rows = shown_rows(each)
        assert rows
        assert all(len(row) == masks.frames and can_fill(row, each) for row in rows.values())
        assert set(rows) in ({"predict"}, {"interpolate"}, {"predict", "interpolate"}) or (
            len(rows) == 1
        )
        assert all(("K" in row) == (task != "generate") for task, row in rows.items())


def test_blocks_that_need_all_their_frames_get_them() -> None:
    assert shown_rows(BlockMasks(past=4, target=1)) == {"predict": "KKKKT"}
    assert shown_rows(BlockMasks(past=3, target=2, future=1)) == {"interpolate": "KKKTTK"}
    assert shown_rows(BlockMasks(past=0, target=2, future=2)) == {"rewind": "TTKK"}
    assert shown_rows(BlockMasks(past=0, target=2)) == {"generate": "TT"}


def test_a_look_without_its_arrays_is_json(tmp_path: Path) -> None:
    config = tiny()
    found = looked(tmp_path, config, config.clips("test"))
    data = asdict(replace(found, sheet=None, videos={}, pixels={}, sheet_pixels=None))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
