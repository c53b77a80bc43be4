import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from framefill.errors import InputError
from framefill.metrics.baselines import copy_last, linear_blend, nearest_known
from framefill.metrics.frames import (
    mse,
    psnr,
    ssim,
    ssim_of_binary_bytes,
    ssim_of_grey_bytes,
    to_bytes,
    to_grey_bytes,
)
from framefill.metrics.scores import Scores, Summary, measure, score, summarise
from framefill.serialise import from_data, to_data


def pair(seed: int, channels: int = 1, dtype=np.uint8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (3, 24, 17, channels))
    noisy = np.clip(truth + rng.normal(0, 30, truth.shape), 0, 255)
    return truth.astype(dtype), noisy.astype(dtype)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 3]), st.sampled_from([np.uint8, np.float64]))
def test_ssim_is_that_of_scikit_image(seed: int, channels: int, dtype) -> None:
    truth, frames = pair(seed, channels, dtype)
    ours = ssim(truth, frames, data_range=255)
    theirs = [
        structural_similarity(
            a.astype(float),
            b.astype(float),
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        for a, b in zip(truth, frames, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_psnr_is_that_of_scikit_image_for_the_video_as_a_whole(seed: int) -> None:
    truth, frames = pair(seed)
    theirs = peak_signal_noise_ratio(truth, frames, data_range=255)
    assert psnr(truth, frames, data_range=255) == pytest.approx(theirs, abs=1e-9)


def test_psnr_of_the_mean_error_is_below_the_mean_of_the_frames() -> None:
    truth, frames = pair(0)
    frames[0] = truth[0]
    frames[1] = 255 - truth[1]
    single = [psnr(truth[i : i + 1], frames[i : i + 1], data_range=255) for i in (1, 2)]
    assert psnr(truth[1:], frames[1:], data_range=255) < np.mean(single)
    assert mse(truth, frames, data_range=255)[0] == 0


def test_equal_frames_are_perfect() -> None:
    truth, _ = pair(0)
    assert psnr(truth, truth, data_range=255) == np.inf
    np.testing.assert_allclose(ssim(truth, truth, data_range=255), 1)


def test_frames_smaller_than_the_window_are_refused() -> None:
    small = np.zeros((1, 10, 20, 1), np.uint8)
    with pytest.raises(InputError, match="10 x 20"):
        ssim(small, small, data_range=255)


def test_grey_bytes_are_those_of_pillow() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (1, 500, 200, 3)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(colors[0]).convert("L"))
    np.testing.assert_array_equal(to_grey_bytes(colors, data_range=255)[0, ..., 0], expected)
    grey = colors[..., :1]
    np.testing.assert_array_equal(to_grey_bytes(grey, data_range=255), grey)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_bytes_are_cut_off_as_torchvision_does(seed: int) -> None:
    values = torch.rand((1, 50, 40, 3), generator=torch.Generator().manual_seed(seed))
    values[0, :16, :16, 0] = torch.arange(256).reshape(16, 16) / 255
    ours = to_bytes(values.numpy(), data_range=1)
    np.testing.assert_array_equal(ours, values.mul(255).byte().numpy())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, np.float32, float])
def test_whole_numbers_keep_their_byte(dtype: type) -> None:
    levels = np.arange(256).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_bytes(levels.astype(dtype), data_range=255), levels)
    if dtype is np.uint16:
        wide = (257 * levels).astype(dtype)
        np.testing.assert_array_equal(to_bytes(wide, data_range=65535), levels)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_bytes_refuse_values_that_are_no_brightness(value: float) -> None:
    frames = np.full((1, 16, 16, 1), 0.5)
    frames[0, 3, 4, 0] = value
    with pytest.raises(InputError, match=rf"in 0\.\.1, but one is {value:g}: shift or scale"):
        to_bytes(frames, data_range=1)


def test_grey_needs_one_or_three_channels() -> None:
    with pytest.raises(InputError, match="1 or 3 channels, not 2"):
        to_grey_bytes(np.zeros((1, 16, 16, 2)), data_range=1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_ssim_of_pictures_is_that_of_the_official_runner(seed: int, binary: bool) -> None:
    truth, frames = (values.astype(np.float32) / 255 for values in pair(seed, channels=3))
    ours = (ssim_of_binary_bytes if binary else ssim_of_grey_bytes)(truth, frames, data_range=1)
    theirs = []
    for a, b in zip(truth, frames, strict=True):
        values = [torch.from_numpy(each) for each in (a, b)]
        values = [each.round() if binary else each for each in values]
        pictures = [Image.fromarray(each.mul(255).byte().numpy()) for each in values]
        grey = [np.asarray(picture.convert("L")) for picture in pictures]
        options = {"gaussian_weights": True, "use_sample_covariance": False}
        theirs.append(structural_similarity(*grey, data_range=255, **options))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_binary_pictures_are_black_up_to_half_of_the_range() -> None:
    truth = np.zeros((1, 16, 16, 1))
    truth[0, :8] = 1
    bent = np.where(truth > 0, 0.51, 0.5)
    assert ssim_of_binary_bytes(truth, bent, data_range=1) == pytest.approx(1)
    assert ssim_of_binary_bytes(truth * 255, bent * 255, data_range=255) == pytest.approx(1)
    assert ssim_of_grey_bytes(truth, bent, data_range=1) < 0.9


def trajectories(seed: int, videos: int = 3, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (videos, 2, 12, 13, 1))
    spread = rng.uniform(5, 60, (videos, count, 1, 1, 1, 1))
    samples = truth[:, None] + spread * rng.normal(size=(videos, count, *truth.shape[1:]))
    return truth.astype(np.uint8), np.clip(samples, 0, 255).astype(np.uint8)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_scores_are_means_over_videos_of_the_best_and_of_the_mean(seed: int, videos: int) -> None:
    truth, samples = trajectories(seed, videos)
    scores = score(truth, samples, data_range=255)
    assert (scores.videos, scores.trajectories) == (videos, 4)
    for name, best in (("mse", min), ("psnr", max), ("ssim", max)):
        metric = {"mse": mse, "psnr": psnr, "ssim": ssim}[name]
        values = [
            [metric(true, filled, data_range=255).mean() for filled in several]
            for true, several in zip(truth, samples, strict=True)
        ]
        for summary, per_video in (
            (scores.best[name], [best(each) for each in values]),
            (scores.average[name], [np.mean(each) for each in values]),
        ):
            mean = np.mean(per_video)
            interval = stats.norm.interval(0.95, loc=mean, scale=stats.sem(per_video))
            assert summary.mean == pytest.approx(mean)
            assert summary.std == pytest.approx(np.std(per_video))
            assert summary.confidence == pytest.approx(mean - interval[0])


@pytest.mark.parametrize(
    ("convention", "metric"),
    [
        ("channels", ssim),
        ("grey_bytes", ssim_of_grey_bytes),
        ("binary_bytes", ssim_of_binary_bytes),
    ],
)
def test_the_convention_of_ssim_is_the_named_one(convention: str, metric: Callable) -> None:
    truth, samples = (values / 256 for values in trajectories(0, videos=1, count=1))
    expected = metric(truth[0], samples[0, 0], data_range=1).mean()
    assert measure(truth, samples, data_range=1, ssim=convention)["ssim"][0, 0] == expected


def test_each_metric_chooses_its_own_best_trajectory() -> None:
    truth = np.zeros((1, 1, 16, 16, 1))
    truth[..., ::2, :] = 0.5
    brighter, flat = truth + 0.5, np.full_like(truth, 0.25)
    samples = np.stack([brighter, flat], axis=1)
    values = measure(truth, samples, data_range=1)
    assert values["psnr"].argmax() == 1
    assert values["ssim"].argmax() == 0
    best = score(truth, samples, data_range=1).best
    assert best["psnr"].mean == values["psnr"][0, 1]
    assert best["ssim"].mean == values["ssim"][0, 0]


def test_the_order_of_trajectories_does_not_matter_but_that_of_videos_does() -> None:
    truth, samples = trajectories(0)
    scores = score(truth, samples, data_range=255)
    turned = score(truth, samples[:, ::-1], data_range=255)
    for name, summary in scores.best.items():
        assert turned.best[name].mean == pytest.approx(summary.mean)
        assert turned.average[name].mean == pytest.approx(scores.average[name].mean)
    assert score(truth, samples[::-1], data_range=255).best["psnr"].mean < scores.best["psnr"].mean


def test_one_trajectory_is_the_best_and_the_average() -> None:
    truth, samples = trajectories(0, count=1)
    scores = score(truth, samples, data_range=255)
    assert scores.best == scores.average


def test_videos_may_come_in_parts() -> None:
    truth, samples = trajectories(0)
    parts = [measure(truth[i : i + 1], samples[i : i + 1], data_range=255) for i in range(3)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert summarise(joined) == score(truth, samples, data_range=255)


def test_a_single_video_has_no_confidence_interval() -> None:
    truth, samples = trajectories(0, videos=1)
    summary = score(truth, samples, data_range=255).best["psnr"]
    assert summary.std == 0
    assert summary.confidence is None


def test_equal_scores_are_known_for_sure() -> None:
    values = {"ssim": np.full((3, 2), 0.5)}
    assert summarise(values).best["ssim"] == Summary(mean=0.5, std=0.0, confidence=0.0)


def test_an_infinite_score_has_no_mean() -> None:
    truth, samples = trajectories(0)
    samples[1, 2] = truth[1]
    scores = score(truth, samples, data_range=255)
    assert scores.best["psnr"] == Summary(mean=None, std=None, confidence=None, infinite=True)
    assert scores.best["mse"].mean is not None


@pytest.mark.parametrize("videos", [1, 3])
def test_scores_go_through_json(videos: int) -> None:
    truth, samples = trajectories(0, videos)
    samples[0, 0] = truth[0]
    scores = score(truth, samples, data_range=255)
    text = json.dumps(to_data(scores), allow_nan=False)
    assert from_data(json.loads(text), Scores, source="scores") == scores


def test_frames_have_one_distance_each() -> None:
    truth, samples = trajectories(0)
    asked: list[tuple[int, ...]] = []

    def contrast(truth: np.ndarray, frames: np.ndarray, *, data_range: float) -> np.ndarray:
        asked.append(frames.shape)
        return np.abs(frames.mean(axis=(-3, -2, -1)) - truth.mean(axis=(-3, -2, -1))) / data_range

    scores = score(truth, samples, data_range=255, lpips=contrast)
    assert asked == [(2, 12, 13, 1)] * 12
    assert scores.best["lpips"].mean < scores.average["lpips"].mean
    assert "lpips" not in score(truth, samples, data_range=255).best


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda truth, samples: (truth, samples[0]), r"samples \(4, 2, .*give \[n k f h w c\]"),
        (lambda truth, samples: (truth[:2], samples), r"don't fit the truth \(2, 2, "),
        (lambda truth, samples: (truth, samples[:, :, :1]), r"don't fit"),
        (lambda truth, samples: (truth, samples[:, :0]), r"none of them 0"),
        (lambda truth, samples: (truth, samples * np.nan), r"infinite values in the samples"),
        (lambda truth, samples: (truth / 0.0, samples), r"infinite values in the truth"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: Callable, message: str) -> None:
    with np.errstate(all="ignore"):
        truth, samples = change(*trajectories(0))
    with pytest.raises(InputError, match=message):
        score(truth, samples, data_range=255)


def test_the_range_of_the_data_is_above_0() -> None:
    with pytest.raises(InputError, match="data_range 0 must be above 0"):
        score(*trajectories(0), data_range=0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [("KKTT", [0, 1, 1, 1]), ("TTKK", [2, 2, 2, 3]), ("KTKT", [0, 0, 2, 2])],
)
def test_copying_takes_the_last_known_frame(row: str, expected: list[int]) -> None:
    frames = np.arange(4).reshape(1, 4, 1, 1, 1)
    assert copy_last(frames, row).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("KTTTK", [0, 0, 0, 4, 4]),
        ("TTKTT", [2, 2, 2, 2, 2]),
        ("T-KT-TTK", [2, 2, 2, 2, 2, 7, 7, 7]),
    ],
)
def test_the_nearest_known_frame_is_the_earlier_of_two(row: str, expected: list[int]) -> None:
    frames = np.arange(len(row)).reshape(1, -1, 1, 1, 1)
    assert nearest_known(frames, row).flatten().tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_blend_continues_a_line_and_copies_beyond_it(dtype: type) -> None:
    line = np.arange(0, 80, 10).reshape(1, 8, 1, 1, 1).astype(dtype)
    hidden = line.copy()
    hidden[:, [0, 2, 3, 5, 7]] = 99
    blend = linear_blend(hidden, "TKTTKTKT")
    assert blend.dtype == dtype
    assert blend.flatten().tolist() == [10, 10, 20, 30, 40, 50, 60, 60]


def test_a_blend_of_integers_is_rounded() -> None:
    frames = np.array([250, 0, 0, 255], np.uint8).reshape(4, 1, 1, 1)
    assert linear_blend(frames, "KTTK").flatten().tolist() == [250, 252, 253, 255]
    halves = linear_blend(frames.astype(np.float32), "KTTK").flatten()
    np.testing.assert_allclose(halves, [250, 250 + 5 / 3, 250 + 10 / 3, 255])


baselines = pytest.mark.parametrize("fill", [copy_last, nearest_known, linear_blend])
rows = st.text("KT-", min_size=1, max_size=12).filter(lambda row: "K" in row)


@baselines
@settings(max_examples=30, deadline=None)
@given(row=rows, seed=st.integers(0, 100))
def test_baselines_see_known_frames_only_and_keep_them(fill: Callable, row: str, seed: int) -> None:
    frames = np.random.default_rng(seed).normal(size=(2, len(row), 2, 3, 1)).astype(np.float32)
    known = np.array([letter == "K" for letter in row])
    hidden = frames.copy()
    hidden[:, ~known] = np.nan
    filled = fill(hidden, row)
    assert filled.dtype == frames.dtype
    np.testing.assert_array_equal(filled[:, known], frames[:, known])
    assert np.isfinite(filled).all()
    assert np.isnan(hidden[:, ~known]).all(), "the input was changed"


@settings(max_examples=30, deadline=None)
@given(rows, st.integers(0, 100))
def test_a_blend_knows_no_direction_of_time(row: str, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (len(row), 2, 3, 1)).astype(np.uint8)
    known = [i for i, letter in enumerate(row) if letter == "K"]
    inside = slice(known[0], known[-1] + 1)
    backwards = linear_blend(frames[inside][::-1], row[inside][::-1])[::-1]
    np.testing.assert_array_equal(linear_blend(frames, row)[inside], backwards)


@baselines
def test_baselines_need_a_known_frame_and_a_role_for_each(fill: Callable) -> None:
    frames = np.zeros((3, 1, 1, 1))
    with pytest.raises(InputError, match="'TTT' has no known frame"):
        fill(frames, "TTT")
    with pytest.raises(InputError, match="'KT' has 2 roles for 3 frames"):
        fill(frames, "KT")
