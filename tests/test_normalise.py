import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framefill.errors import InputError
from framefill.normalise import Normaliser

KELVIN = Normaliser(
    dtype="float32", offset=(250.0, 280.0), scale=(40.0, 20.0), low=180.0, high=330.0, units="K"
)


@given(arrays(np.uint8, (2, 3, 4, 1)))
def test_bytes_come_back_bit_for_bit(frames: np.ndarray) -> None:
    normaliser = Normaliser(offset=(21.4,), scale=(113.8,))
    assert np.array_equal(normaliser.to_frames(normaliser.to_clip(frames), frames.dtype), frames)


@given(arrays(np.uint16, (1, 3, 2, 1)))
def test_sixteen_bits_come_back_bit_for_bit(frames: np.ndarray) -> None:
    normaliser = Normaliser(dtype="uint16", offset=(30000.0,), scale=(9000.0,), high=65535.0)
    assert np.array_equal(normaliser.to_frames(normaliser.to_clip(frames), frames.dtype), frames)


def test_dark_integers_are_no_fractions() -> None:
    normaliser = Normaliser(dtype="uint16", offset=(30000.0,), scale=(9000.0,), high=65535.0)
    assert normaliser.to_clip(np.ones((1, 2, 2, 1), np.uint16)).isfinite().all()


def test_each_channel_has_its_own_scale_and_nan_stays() -> None:
    frames = np.full((1, 2, 2, 2), [290.0, 300.0], np.float32)
    frames[0, 0, 0] = np.nan
    clip = KELVIN.to_clip(frames)
    assert clip.shape == (1, 2, 2, 2)
    assert clip[0, :, 1, 1].tolist() == [1, 1]
    assert clip[0, :, 0, 0].isnan().all()


def test_default_is_minus_one_to_one() -> None:
    clip = Normaliser().to_clip(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    assert clip.flatten().tolist() == [-1, 1]
    assert Normaliser().limits == (-1, 1)


def test_limits_cover_all_channels() -> None:
    low, high = KELVIN.limits
    assert low == pytest.approx((180 - 280) / 20)
    assert high == pytest.approx((330 - 280) / 20)


@given(st.floats(-3, 3))
def test_the_model_cannot_leave_the_range_of_the_data(value: float) -> None:
    clip = Normaliser().to_clip(np.zeros((1, 1, 1, 1), np.uint8)) * 0 + value
    assert 0 <= Normaliser().to_frames(clip, np.dtype(np.uint8)).item() <= 255


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.full((1, 2, 2, 1), 0.5, np.float32), "multiply them by 255"),
        (np.full((1, 2, 2, 1), 300.0, np.float32), "300"),
        (np.full((1, 2, 2, 1), 1, np.int16), "int16"),
        (np.full((1, 2, 2, 1), -1.0, np.float32), "-1"),
        (np.ones((1, 2, 2, 1), np.float32), "multiply them by 255"),
    ],
)
def test_other_units_are_refused(frames: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Normaliser().to_clip(frames)


def test_floats_in_the_units_of_the_data_are_welcome() -> None:
    frames = np.array([0.0, 1.0, 200.0], np.float32).reshape(3, 1, 1, 1)
    frames[1] = np.nan
    assert Normaliser().to_clip(frames).isnan().sum() == 1


@pytest.mark.parametrize("changes", [{"scale": (0.0,)}, {"low": 5.0, "high": 5.0}])
def test_impossible_ranges_are_refused(changes) -> None:
    with pytest.raises(InputError, match="normaliser"):
        Normaliser(**changes)
