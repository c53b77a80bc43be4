import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks, RandomMasks
from framefill.roles import Role
from framefill.rollout import Window, can_fill, plan, rollout

rows = st.text("KT", min_size=1, max_size=40).filter(lambda row: "T" in row)
rows_with_gaps = st.text("KT-", min_size=1, max_size=25).filter(lambda row: "T" in row)
context_masks = st.builds(
    ContextMasks, past=st.integers(0, 5), target=st.integers(1, 4), future=st.integers(0, 5)
)
random_masks = st.integers(2, 20).flatmap(
    lambda frames: st.builds(
        RandomMasks, frames=st.just(frames), max_known=st.integers(1, frames - 1)
    )
)
flexible = st.one_of(context_masks, random_masks)


def check(row: str, masks: Masks, windows: list[Window]) -> None:
    """Each target is filled once, and nothing is seen before it exists."""
    exists = {i for i, letter in enumerate(row) if letter == "K"}
    wanted = {i for i, letter in enumerate(row) if letter == "T"}
    for window in windows:
        assert len(window.row) == masks.frames
        pairs = list(zip(window.frames, window.row, strict=True))
        assert {frame for frame, letter in pairs if letter == "K"} <= exists
        fresh = {frame for frame, letter in pairs if letter == "T"} & (wanted - exists)
        assert fresh, "a window that fills nothing"
        assert fresh == set(window.fills)
        exists |= fresh
    assert wanted <= exists


@settings(max_examples=200, deadline=None)
@given(rows_with_gaps, flexible)
def test_every_target_is_filled_from_frames_that_exist(row: str, masks: Masks) -> None:
    check(row, masks, plan(row, masks))


@settings(max_examples=200, deadline=None)
@given(
    rows,
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
)
def test_blocks_fill_every_target_or_say_that_they_cannot(
    row: str, past: int, target: int, future: int, drop_past: bool, drop_future: bool
) -> None:
    masks = BlockMasks(
        past=past,
        target=target,
        future=future,
        drop_past=0.5 * drop_past,
        drop_future=0.5 * drop_future,
    )
    if can_fill(row, masks):
        check(row, masks, plan(row, masks))
        return
    assert not (drop_past and drop_future)
    with pytest.raises(InputError, match="was not trained to fill"):
        plan(row, masks)


@settings(max_examples=50, deadline=None)
@given(rows, context_masks)
def test_windows_are_what_training_showed(row: str, masks: ContextMasks) -> None:
    assert all(masks.allows(window.row) for window in plan(row, masks))


def test_gaps_are_filled_from_both_ends() -> None:
    windows = plan("KKTTTTTTKK", ContextMasks(past=2, target=2, future=2))
    filled = [[f for f, r in zip(w.frames, w.row, strict=True) if r == "T"] for w in windows]
    assert filled == [[2, 3], [6, 7], [4, 5]]
    assert windows[-1].row == "KKTTKK"


def test_predictions_go_forward_block_by_block_as_in_mcvd() -> None:
    windows = plan("KKTTTTT", BlockMasks(past=2, target=3))
    assert [(w.frames[0], w.row) for w in windows] == [(0, "KKTTT"), (3, "KKTTT")]


def test_random_masks_see_no_more_frames_than_in_training() -> None:
    windows = plan("K" * 10 + "T" * 30, RandomMasks(frames=16, max_known=4))
    assert {window.row.count("K") for window in windows} == {4}


def test_a_model_of_the_past_alone_refuses_to_interpolate_and_says_what_it_can() -> None:
    masks = BlockMasks(past=2, target=2)
    with pytest.raises(InputError, match=r"not trained to fill TTKK: it can predict"):
        plan("TTKK", masks)
    assert not can_fill("TTTT", masks)
    assert can_fill("TTTT", BlockMasks(past=2, target=2, drop_past=0.5))


def test_a_mixture_does_what_any_of_its_parts_does() -> None:
    masks = MixedMasks(
        parts=(BlockMasks(past=2, target=2), BlockMasks(past=0, target=2, future=2)),
        weights=(1, 1),
    )
    assert can_fill("KKTT", masks)
    assert can_fill("TTKK", masks)
    assert not can_fill("TTTT", masks)


def test_a_window_draws_itself_under_the_video() -> None:
    assert Window((-1, 0, 1, 2), "-KTT").draw(5) == "KTT  "


@settings(max_examples=60, deadline=None)
@given(rows_with_gaps, flexible)
def test_rollout_fills_targets_and_keeps_the_rest(row: str, masks: Masks) -> None:
    video = torch.arange(len(row), dtype=torch.float32)[None, :, None, None, None] + 1
    hidden = torch.tensor([letter == "T" for letter in row])
    video = torch.where(hidden[None, :, None, None, None], float("nan"), video)
    seen = 0

    def fill_window(clip: torch.Tensor, roles: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += 1
        assert clip[roles == Role.KNOWN].isfinite().all()
        return torch.full_like(clip, -float(seen))

    windows = plan(row, masks)
    *_, filled = rollout(fill_window, video, windows)
    assert seen == len(windows)
    assert torch.equal(filled[0, ~hidden], video[0, ~hidden])
    assert (filled[0, hidden] < 0).all()
