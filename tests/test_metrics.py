import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from framefill.errors import InputError
from framefill.metrics.baselines import copy_last
from framefill.metrics.frames import mse, psnr, ssim


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


@pytest.mark.parametrize(
    ("row", "expected"),
    [("KKTT", [0, 1, 1, 1]), ("TTKK", [2, 2, 2, 3]), ("KTKT", [0, 0, 2, 2])],
)
def test_copying_takes_the_last_known_frame(row: str, expected: list[int]) -> None:
    frames = np.arange(4).reshape(1, 4, 1, 1, 1)
    assert copy_last(frames, row).flatten().tolist() == expected
