import functools
import itertools
import re
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks, RandomMasks
from framefill.planning import can_fill, plan, tasks
from framefill.roles import Role
from framefill.rollout import rollout
from framefill.windows import Window

rows = st.text("KT", min_size=1, max_size=40).filter(lambda row: "T" in row)
rows_with_gaps = st.text("KT-", min_size=1, max_size=25).filter(lambda row: "T" in row)
context_masks = st.builds(
    ContextMasks, past=st.integers(1, 5), target=st.integers(1, 4), future=st.integers(1, 5)
)


@st.composite
def random_masks(draw: st.DrawFn) -> RandomMasks:
    """Masks that leave no row out: room for frames on both sides of a target, or for none."""
    frames = draw(st.integers(3, 20))
    span = draw(st.integers(3, frames))
    first = draw(st.integers(0, frames - span))
    within = draw(st.sampled_from([None, (first, first + span)]))
    most = frames - 1 if within is None else min(span, frames - 1)
    return RandomMasks(frames=frames, max_known=draw(st.integers(1, most)), within=within)


flexible = st.one_of(context_masks, random_masks())
CONTEXT = ContextMasks(past=4, target=2, future=4)
RAMVID = RandomMasks(frames=16, max_known=4)


def check(row: str, masks: Masks, windows: list[Window]) -> None:
    """Each target is filled once, and nothing is seen before it exists."""
    given_frames = {i for i, letter in enumerate(row) if letter == "K"}
    exists = set(given_frames)
    wanted = {i for i, letter in enumerate(row) if letter == "T"}
    for window in windows:
        assert len(window.row) == masks.frames
        pairs = list(zip(window.frames, window.row, strict=True))
        assert {frame for frame, letter in pairs if letter == "K"} <= exists
        fresh = {frame for frame, letter in pairs if letter == "T"} & wanted - exists
        assert window.fills, "a window that fills nothing"
        assert set(window.fills) <= fresh
        real = exists if isinstance(masks, RandomMasks) else given_frames
        if not getattr(masks, "within", None):  # else windows reach where nothing may be known
            assert not any(is_cut_off(frame, window, real) for frame in window.fills)
        exists |= set(window.fills)
    assert wanted <= exists


def is_cut_off(frame: int, window: Window, real: set[int]) -> bool:
    """Whether the next real frame on some side of a target is one that the model makes anew."""
    roles = dict(zip(window.frames, window.row, strict=True))
    for step in (-1, 1):
        place = frame + step
        while roles.get(place) == "T" and place not in real:
            place += step
        if roles.get(place) == "T":
            return True
    return False


def short_rows(longest: int) -> Iterator[str]:
    for length in range(1, longest + 1):
        yield from ("".join(row) for row in itertools.product("KT-", repeat=length) if "T" in row)


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
    assert not (drop_past and drop_future) or re.search("T+K", row), "only what is given can forbid"
    with pytest.raises(InputError, match="was not trained to fill"):
        plan(row, masks)


@settings(max_examples=50, deadline=None)
@given(rows_with_gaps, flexible)
def test_windows_are_what_training_showed(row: str, masks: Masks) -> None:
    single = isinstance(masks, RandomMasks) and masks.max_known == 1  # but gaps have two sides
    for window in plan(row, masks):
        assert masks.allows(window.row) or (single and window.row.count("K") == 2)


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


def test_a_model_that_never_saw_what_comes_after_refuses_to_ignore_it() -> None:
    for masks in (
        BlockMasks(past=2, target=3, drop_past=0.5),
        ContextMasks(past=3, target=1, future=0),
    ):
        with pytest.raises(InputError, match=r"it can predict \(.*\), generate"):
            plan("KKTTTKK", masks)
        assert "interpolate" not in tasks(masks)


MODES = [  # masks, and what MCVD's runner does with a model that was trained with them
    (BlockMasks(past=2, target=2), {"predict": 2}),
    (BlockMasks(past=2, target=2, drop_past=0.5), {"predict": 1, "generate": 0}),
    (BlockMasks(past=2, target=2, future=1), {"interpolate": 2}),
    (BlockMasks(past=2, target=2, future=1, drop_future=0.5), {"predict": 2, "interpolate": 2}),
    (
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, drop_future=0.5),
        {"predict": 1, "rewind": 1, "interpolate": 1, "generate": 0},
    ),
    (
        BlockMasks(past=2, target=2, future=1, drop_past=0.5, synchronised=True),
        {"interpolate": 1, "generate": 0},
    ),
    # The runner has no mode for these, and stops with an error.
    (BlockMasks(past=2, target=2, future=1, drop_past=0.5), {"rewind": 1, "interpolate": 1}),
]


@pytest.mark.parametrize(("masks", "expected"), MODES, ids=str)
def test_tasks_are_those_of_the_training(masks: BlockMasks, expected: dict[str, int]) -> None:
    assert tasks(masks) == expected


def test_a_short_past_or_future_is_used_as_far_as_it_goes() -> None:
    masks = BlockMasks(past=3, target=2, future=3, drop_past=0.5, drop_future=0.5)
    assert [w.row for w in plan("KTTK", masks)] == ["--KTTK--"]


@settings(max_examples=100, deadline=None)
@given(rows, flexible, st.integers(1, 3))
def test_any_advance_fills_every_target_once(row: str, masks: Masks, advance: int) -> None:
    windows = plan(row, masks, advance=advance)
    filled = [frame for window in windows for frame in window.fills]
    assert sorted(filled) == [i for i, letter in enumerate(row) if letter == "T"]
    assert max(len(window.fills) for window in windows) <= advance


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 5), flexible)
def test_what_is_given_on_both_sides_of_a_gap_is_seen(
    before: int, gap: int, after: int, masks: Masks
) -> None:
    last = plan("K" * before + "T" * gap + "K" * after, masks)[-1]
    assert last.sees_around(last.fills)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 30), flexible)
def test_any_frame_rate_can_be_multiplied(between: int, given_frames: int, masks: Masks) -> None:
    row = ("T" * between).join("K" * given_frames)
    check(row, masks, plan(row, masks))


ORACLE_MASKS: list[Masks] = [
    BlockMasks(past=2, target=2),
    BlockMasks(past=1, target=3, future=1, drop_past=0.5, drop_future=0.5),
    BlockMasks(past=2, target=2, future=1, drop_past=0.5, synchronised=True),
    BlockMasks(past=2, target=1, future=2, drop_future=0.5),
    ContextMasks(past=2, target=2, future=1),
    ContextMasks(past=2, target=1, future=0),
    RandomMasks(frames=4, max_known=2),
    RandomMasks(frames=3, max_known=1),
    MixedMasks(
        parts=(BlockMasks(past=2, target=2), RandomMasks(frames=4, max_known=1)), weights=(1, 0)
    ),
]


@pytest.mark.parametrize("masks", ORACLE_MASKS, ids=str)
def test_plans_of_short_rows_heed_what_is_beside_each_run(masks: Masks) -> None:
    """All rows of up to 6 frames, checked by definitions that share no code with the planner."""
    planned = 0
    for row in short_rows(6):
        if not can_fill(row, masks):
            continue
        planned += 1
        windows = plan(row, masks)
        check(row, masks, windows)
        for run in re.finditer("T+", row):
            heard = [
                {f for f, r in zip(w.frames, w.row, strict=True) if r == "K"}
                for w in windows
                if set(w.fills) & set(range(*run.span()))
            ]
            for beside in (run.start() - 1, run.end()):
                if 0 <= beside < len(row) and row[beside] == "K":
                    assert any(beside in known for known in heard), (row, beside)
                    assert all(heard), (row, "a window that saw nothing")
    assert planned > 10


def some_windows_fill(row: str, masks: RandomMasks) -> bool:
    """Search all orders of all windows, one frame each, for one that heeds what is given."""
    first, end = masks.within or (0, masks.frames)
    real = frozenset(i for i, letter in enumerate(row) if letter == "K")
    runs = {f: run.span() for run in re.finditer("T+", row) for f in range(*run.span())}
    beside = {f: real & {run[0] - 1, run[1]} for f, run in runs.items()}
    needed = {(runs[f], side) for f in runs for side in beside[f]}
    needed |= {(runs[f], "around") for f in runs if len(beside[f]) == 2}

    def heeded(frame: int, exists: frozenset[int]) -> Iterator[frozenset[object]]:
        for start in range(frame - masks.frames + 1, frame + 1):
            visible = [f for f in exists if first <= f - start < end]
            for count in range(max(masks.max_known, 2) + 1):  # gaps have two sides
                for known in itertools.combinations(visible, count):
                    around = {"around"} if known and min(known) < frame < max(known) else set()
                    if known or (masks.unconditional > 0 and not beside[frame]):
                        yield frozenset((runs[frame], x) for x in around | set(known)) & needed

    @functools.cache
    def search(exists: frozenset[int], done: frozenset[object]) -> bool:
        if exists >= set(runs):
            return needed <= done
        todo = set(runs) - exists
        ways = {(frame, facts) for frame in todo for facts in heeded(frame, exists)}
        return any(search(exists | {frame}, done | facts) for frame, facts in ways)

    return search(real, frozenset())


@pytest.mark.parametrize(
    "masks",
    [
        RandomMasks(frames=2, max_known=1),
        RandomMasks(frames=3, max_known=1),
        RandomMasks(frames=3, max_known=2, unconditional=0),
        RandomMasks(frames=4, max_known=2, unconditional=0),
        RandomMasks(frames=4, max_known=2, within=(0, 3)),
        RandomMasks(frames=4, max_known=1, within=(1, 3)),
    ],
    ids=str,
)
def test_random_masks_refuse_a_row_only_if_no_windows_fill_it(masks: RandomMasks) -> None:
    for row in short_rows(5):
        assert can_fill(row, masks) == some_windows_fill(row, masks), row


@pytest.mark.parametrize(
    "masks",
    [
        RandomMasks(frames=3, max_known=2),
        RandomMasks(frames=4, max_known=1),
        ContextMasks(past=2, target=2, future=1),
        ContextMasks(past=1, target=2, future=0),
    ],
    ids=str,
)
def test_flexible_models_refuse_no_short_row(masks: Masks) -> None:
    assert [row for row in short_rows(6) if not can_fill(row, masks)] == []


def test_long_videos_are_planned_in_time_that_grows_with_them() -> None:
    for row in ("KT" * 5_000 + "K", "K" * 4 + "T" * 10_000, "T---" * 2_500):
        for masks in (CONTEXT, RAMVID):
            check(row, masks, plan(row, masks))


def test_one_frame_at_a_time_moves_by_one() -> None:
    windows = plan("KKTTT", BlockMasks(past=2, target=3), advance=1)
    assert [(w.frames[0], w.fills) for w in windows] == [(0, (2,)), (1, (3,)), (2, (4,))]


def test_the_past_is_filled_backwards_block_by_block() -> None:
    masks = BlockMasks(past=2, target=2, future=2, drop_past=0.5, drop_future=0.5)
    windows = plan("TTTTTKK", masks)
    assert [w.fills for w in windows] == [(3, 4), (1, 2), (0,)]
    assert {w.row for w in windows} == {"--TTKK"}


def test_a_window_draws_itself_under_the_video() -> None:
    assert Window((-1, 0, 1, 2), "-KTT").draw(5) == "KTT  "


@settings(max_examples=60, deadline=None)
@given(rows_with_gaps, flexible)
def test_rollout_fills_targets_and_keeps_the_rest(row: str, masks: Masks) -> None:
    video = torch.arange(len(row), dtype=torch.float32)[None, :, None, None, None] + 1
    hidden = torch.tensor([letter == "T" for letter in row])
    video = torch.where(hidden[None, :, None, None, None], float("nan"), video)
    seen = 0

    def fill_window(clip: torch.Tensor, roles: torch.Tensor, window: Window) -> torch.Tensor:
        nonlocal seen
        seen += 1
        assert clip[roles == Role.KNOWN].isfinite().all()
        return torch.full_like(clip, -float(seen))

    windows = plan(row, masks)
    *_, filled = rollout(fill_window, video, windows)
    assert seen == len(windows)
    assert torch.equal(filled[0, ~hidden], video[0, ~hidden])
    assert (filled[0, hidden] < 0).all()
