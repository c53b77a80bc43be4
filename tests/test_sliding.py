"""RaMViD's scheme for long videos: any numbers, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framefill.diffusion import Diffusion
from framefill.errors import InputError
from framefill.masks import RandomMasks
from framefill.model import Model
from framefill.model_config import ModelConfig
from framefill.nn.config import VolumeConfig
from framefill.normalise import Normaliser
from framefill.sliding import slide


@given(
    known=st.integers(0, 6),
    targets=st.integers(1, 40),
    advance=st.integers(1, 9),
    context=st.integers(1, 9),
)
def test_every_target_is_filled_once_from_frames_that_exist(
    known: int, targets: int, advance: int, context: int
) -> None:
    row = "K" * known + "T" * targets
    exists = set(range(known))
    windows = slide(row, advance=advance, context=context)
    for number, window in enumerate(windows):
        given_frames = [f for f in window.frames if window.knows(f)]
        assert set(given_frames) <= exists
        assert not exists & set(window.fills)
        assert len(window.row) == len(window.frames) == len(given_frames) + advance
        if number == 0:
            assert len(given_frames) == known
        else:
            assert len(given_frames) == min(context, len(windows[number - 1].frames))
        exists |= set(window.fills)
    assert exists == set(range(len(row)))


@pytest.mark.parametrize("row", ["TK", "KTK", "KT-", "K", ""])
def test_other_tasks_are_refused(row: str) -> None:
    with pytest.raises(InputError, match="after given ones"):
        slide(row, advance=2, context=2)


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="advance 0"):
        slide("KT", advance=0, context=2)


def model(shrink_frames: int = 0) -> Model:
    network = VolumeConfig(
        width=32, multipliers=(1,), blocks=1, attention=(), shrink_frames=shrink_frames
    )
    masks = RandomMasks(frames=4, max_known=1)
    config = ModelConfig(
        height=8,
        width=8,
        channels=1,
        network=network,
        masks=masks,
        diffusion=Diffusion(),
        normaliser=Normaliser(),
    )
    return Model(config.build().eval(), config)


def test_models_slide_with_windows_of_other_lengths_than_they_were_trained_on() -> None:
    windows = model().plan("KKTTTTTTT", advance=3, slide=5)
    assert [window.row for window in windows] == ["KKTTT", "KKKKKTTT", "KKKKKTTT"]
    filled = model().fill_video(
        torch.zeros(1, 9, 1, 8, 8), windows, [torch.Generator().manual_seed(0)]
    )
    assert filled.isfinite().all()


def test_what_can_not_slide_is_refused() -> None:
    with pytest.raises(InputError, match="needs advance"):
        model().plan("KTT", slide=1)
    with pytest.raises(InputError, match="any length"):
        model(shrink_frames=4).plan("KTT", advance=1, slide=1)


def test_windows_have_an_end() -> None:
    with pytest.raises(InputError, match="at most 4096"):
        slide("KTTT", advance=10**9, context=1)
    with pytest.raises(InputError, match="at most 4096"):
        slide("K" * 5000 + "T", advance=1, context=1)
    with pytest.raises(InputError, match="at most 4096"):
        slide("KTTT", advance=4000, context=4000)
