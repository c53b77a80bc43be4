import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framefill.diffusion import compose
from framefill.errors import InputError
from framefill.masks import BlockMasks, ContextMasks, Masks, MixedMasks, RandomMasks
from framefill.roles import Role, roles_from, row_of

rows = st.text("KT-", min_size=1, max_size=20).filter(lambda row: "T" in row)


@given(rows)
def test_rows_and_roles_are_inverse(row: str) -> None:
    assert row_of(roles_from(row)) == row


@pytest.mark.parametrize(
    ("bad", "said"),
    [("KxT", "'x'"), ("KK", "nothing to fill"), ("", "nothing to fill"), ("kkt", "'k', 't'")],
)
def test_bad_rows_are_refused(bad: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        roles_from(bad)


def test_rows_of_one_batch_need_one_length() -> None:
    with pytest.raises(InputError, match=r"\[2, 3\]"):
        roles_from("KT", "KKT")


@given(rows)
def test_compose_takes_each_frame_from_its_source(row: str) -> None:
    known, target = torch.full((1, len(row), 1, 2, 2), 3.0), torch.full((1, len(row), 1, 2, 2), 5.0)
    composed = compose(known, target, roles_from(row))
    expected = [{"K": 3.0, "T": 5.0, "-": 0.0}[letter] for letter in row]
    assert composed[0, :, 0, 0, 0].tolist() == expected


def test_nan_does_not_pass_from_hidden_frames() -> None:
    clip = torch.full((1, 3, 1, 2, 2), float("nan"))
    clip[:, 0] = 1
    composed = compose(clip, torch.zeros_like(clip), roles_from("KT-"))
    assert composed.isfinite().all()


ALL_MASKS: list[Masks] = [
    BlockMasks(past=3, target=2, future=1, drop_past=0.5, drop_future=0.3),
    BlockMasks(past=2, target=2, future=2, drop_past=0.5, synchronised=True),
    BlockMasks(past=2, target=1),
    RandomMasks(frames=6, max_known=3),
    ContextMasks(past=3, target=2, future=3),
    MixedMasks(
        parts=(BlockMasks(past=4, target=2), RandomMasks(frames=6, max_known=2)), weights=(1, 3)
    ),
]


@pytest.mark.parametrize("masks", ALL_MASKS, ids=str)
def test_masks_draw_only_rows_that_they_allow(masks: Masks) -> None:
    roles = masks.sample(400, torch.Generator().manual_seed(0))
    assert roles.shape == (400, masks.frames)
    drawn = {row_of(row[None]) for row in roles}
    assert all(masks.allows(row) for row in drawn)
    assert all("T" in row for row in drawn)
    assert len(drawn) > 1 or masks == BlockMasks(past=2, target=1)


@pytest.mark.parametrize("masks", ALL_MASKS, ids=str)
def test_masks_are_a_function_of_the_generator(masks: Masks) -> None:
    first, second, third = (
        masks.sample(200, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert len(masks.sample(9, torch.Generator())) == 9
    if masks != BlockMasks(past=2, target=1):
        assert not torch.equal(first, third)


def test_masks_do_not_allow_what_they_never_draw() -> None:
    blocks = BlockMasks(past=2, target=2, future=1)
    assert not blocks.allows("--TTK")
    assert not blocks.allows("KTTTK")
    assert not RandomMasks(frames=4, max_known=1).allows("KKTT")
    assert not RandomMasks(frames=4, max_known=1, unconditional=0).allows("TTTT")
    assert not RandomMasks(frames=4, max_known=1).allows("KT-T")
    assert not ContextMasks(past=1, target=2, future=1).allows("KTTT")


def test_blocks_are_dropped_as_often_as_asked() -> None:
    masks = BlockMasks(past=1, target=1, future=1, drop_past=0.25, drop_future=0.75)
    roles = masks.sample(20_000, torch.Generator().manual_seed(0))
    absent = (roles == Role.ABSENT).float().mean(0)
    assert absent[0].item() == pytest.approx(0.25, abs=0.01)
    assert absent[2].item() == pytest.approx(0.75, abs=0.01)
    both = ((roles[:, 0] == Role.ABSENT) & (roles[:, 2] == Role.ABSENT)).float().mean()
    assert both.item() == pytest.approx(0.25 * 0.75, abs=0.01)


def test_synchronised_blocks_are_dropped_together() -> None:
    masks = BlockMasks(past=1, target=1, future=1, drop_past=0.5, synchronised=True)
    roles = masks.sample(500, torch.Generator().manual_seed(0))
    assert torch.equal(roles[:, 0], roles[:, 2])
    assert 0 < (roles[:, 0] == Role.ABSENT).sum() < 500


def test_random_masks_know_each_number_of_frames_equally_often() -> None:
    masks = RandomMasks(frames=8, max_known=4, unconditional=0.2)
    known = (masks.sample(40_000, torch.Generator().manual_seed(0)) == Role.KNOWN).sum(1)
    shares = torch.bincount(known, minlength=5) / len(known)
    assert shares.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2], abs=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BlockMasks(past=-1, target=1),
        lambda: BlockMasks(past=1, target=0),
        lambda: BlockMasks(past=1, target=1, drop_past=1.5),
        lambda: RandomMasks(frames=4, max_known=4),
        lambda: RandomMasks(frames=4, max_known=2, unconditional=-0.1),
        lambda: ContextMasks(past=1, target=0, future=1),
        lambda: ContextMasks(past=1, target=1, future=1, empty=2),
        lambda: MixedMasks(parts=(BlockMasks(past=1, target=1),), weights=()),
        lambda: MixedMasks(parts=(BlockMasks(past=1, target=1),), weights=(0,)),
        lambda: MixedMasks(
            parts=(BlockMasks(past=1, target=1), BlockMasks(past=2, target=1)), weights=(1, 1)
        ),
    ],
)
def test_impossible_masks_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()
