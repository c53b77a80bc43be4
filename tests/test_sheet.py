"""The contact sheet: every frame is where it belongs, in the color of its mark."""

import numpy as np
import pytest
from PIL import Image

from framefill.data.sheet import MARKS, SheetRow, contact_sheet, save_sheet
from framefill.errors import InputError

GIVEN, FILLED, TRUE = (MARKS[mark][1] for mark in "KTR")


def row(marks: str, side: int = 32, channels: int = 3, label: str = "row") -> SheetRow:
    """Frames of one flat color each, which tells their number."""
    numbers = np.arange(len(marks))[:, None, None, None] * 4 + np.array([3, 101, 202])[:channels]
    frames = np.broadcast_to(numbers, (len(marks), side, side, channels)).astype(np.uint8)
    return SheetRow(label, frames, marks)


def boxes(sheet: Image.Image, color: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Left, top, right, bottom and number of all pixels of a color."""
    mask = (np.asarray(sheet) == color).all(axis=2)
    y, x = np.nonzero(mask)
    if not len(x):
        return (0, 0, 0, 0, 0)
    return (x.min(), y.min(), x.max(), y.max(), len(x))


def has(sheet: Image.Image, color: tuple[int, ...]) -> bool:
    return boxes(sheet, color)[4] > 0


def test_frames_stand_in_order_from_left_to_right_and_top_to_bottom():
    sheet = contact_sheet([row("K" * 45)], columns=20)
    places = [
        boxes(sheet, (4 * index + 3, (4 * index + 101) % 256, (4 * index + 202) % 256))
        for index in range(45)
    ]
    assert all(count == 64 * 64 for *_, count in places)
    for index in range(44):
        (left, top, *_), (next_left, next_top, *_) = places[index], places[index + 1]
        if (index + 1) % 20:
            assert next_left > left
            assert next_top == top
        else:
            assert next_top > top
            assert next_left == places[0][0]


@pytest.mark.parametrize(("side", "drawn"), [(5, 50), (32, 64), (48, 48), (100, 100), (640, 160)])
def test_frames_are_drawn_at_a_readable_size(side, drawn):
    left, top, right, bottom, count = boxes(contact_sheet([row("K", side)]), (3, 101, 202))
    assert (right - left + 1, bottom - top + 1, count) == (drawn, drawn, drawn**2)


def test_enlarging_shows_every_pixel_exactly():
    frame = np.random.default_rng(0).integers(0, 256, (1, 7, 9, 3), np.uint8)
    sheet = np.asarray(contact_sheet([SheetRow("", frame, "K")], enlarge=5))
    large = frame[0].repeat(5, axis=0).repeat(5, axis=1)
    y, x = np.argwhere((sheet == GIVEN).all(axis=2))[0] + 3
    assert np.array_equal(sheet[y : y + 35, x : x + 45], large)


@pytest.mark.parametrize(("mark", "color"), [("K", GIVEN), ("T", FILLED), ("R", TRUE)])
def test_the_border_and_the_legend_have_the_color_of_the_mark(mark, color):
    sheet = contact_sheet([row(mark)])
    assert [other for other in (GIVEN, FILLED, TRUE) if has(sheet, other)] == [color]
    border = 70 * 70 - 64 * 64
    legend = 14 * 14 - 8 * 8
    assert boxes(sheet, color)[4] == border + legend


def test_absent_frames_are_not_drawn():
    sheet = contact_sheet([row("K-T")])
    assert has(sheet, (3, 101, 202))
    assert not has(sheet, (7, 105, 206))
    assert has(sheet, (11, 109, 210))
    empty = contact_sheet([row("---")])
    assert not any(has(empty, color) for color in (GIVEN, FILLED, TRUE))


def test_rows_stand_below_one_another_with_columns_aligned():
    sheet = contact_sheet([row("KK"), row("TTT", 64), row("RR", channels=1)])
    sheet = sheet.crop((0, 0, sheet.width, sheet.height - 40))  # without the legend
    given, filled, true = (boxes(sheet, color) for color in (GIVEN, FILLED, TRUE))
    assert given[1] < filled[1] < true[1]
    assert given[0] == filled[0] == true[0]


def test_labels_and_numbers_are_written():
    """Text darkens pixels in the label's column and above the frames."""
    with_label = np.asarray(contact_sheet([row("K", label="a rather long label " * 3)]))
    left, top, *_ = boxes(Image.fromarray(with_label), GIVEN)
    assert (with_label[top:, 16 : left - 14] < 128).any()
    assert (with_label[top - 16 : top, left : left + 70] < 200).any()
    bare = np.asarray(contact_sheet([row("K", label="")]))
    assert boxes(Image.fromarray(bare), GIVEN)[0] == 16


def test_the_legend_fits_a_narrow_sheet():
    sheet = np.asarray(contact_sheet([row(mark, label="") for mark in "KTR"]))
    assert (sheet[:, -16:] == 255).all()
    assert (sheet[-12:] == 255).all()


def test_sheets_are_saved_whole_and_not_overwritten(tmp_path):
    rows = [row("KTT")]
    save_sheet(tmp_path / "new" / "sheet.png", rows)
    with Image.open(tmp_path / "new" / "sheet.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(contact_sheet(rows)))
    with pytest.raises(InputError, match="exists"):
        save_sheet(tmp_path / "new" / "sheet.png", rows)
    save_sheet(tmp_path / "new" / "sheet.png", [row("K")], overwrite=True)
    with pytest.raises(InputError, match=r"\.png"):
        save_sheet(tmp_path / "sheet.jpg", rows)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["sheet.png"]


def test_refusals():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="3 marks for 2 frames"):
        SheetRow("row", frames, "KKK")
    with pytest.raises(InputError, match=r"'Kx' has \['x'\]"):
        SheetRow("row", frames, "Kx")
    with pytest.raises(InputError, match="1 or 3 channels"):
        SheetRow("row", frames[..., :2], "KK")
    with pytest.raises(InputError, match="at least one row"):
        contact_sheet([])
    with pytest.raises(InputError, match="columns=0"):
        contact_sheet([row("K")], columns=0)
    with pytest.raises(InputError, match="enlarge=0"):
        contact_sheet([row("K")], enlarge=0)
    with pytest.raises(InputError, match="above 64 million"):
        contact_sheet([row("K" * 20)], enlarge=100)
