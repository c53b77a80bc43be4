"""The contact sheet: rows of frames side by side, with what is given and what is filled in."""

import functools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from framefill.errors import InputError
from framefill.files import replacing

Color = tuple[int, int, int]

# Okabe and Ito's colors, which the color-blind can tell apart.
MARKS: dict[str, tuple[str, Color]] = {
    "K": ("given", (0, 114, 178)),
    "T": ("filled", (230, 159, 0)),
    "R": ("true", (0, 158, 115)),
}
EMPTY = "-"
INK, PALE_INK = (70, 70, 70), (140, 140, 140)
EMPTY_FILL, EMPTY_LINE = (247, 247, 247), (222, 222, 222)
SMALLEST, LARGEST = 48, 160  # long side of a drawn frame, in pixels
BORDER, GAP, MARGIN = 3, 4, 16
LABEL_SIZE, NUMBER_SIZE = 13, 11
LABEL_GAP, LINE_GAP = 14, 18
NUMBERS_HEIGHT, LEGEND_HEIGHT, SQUARE = 18, 28, 14
LABEL_LETTERS = 24  # longer labels go on in the next line
MOST_PIXELS = 64_000_000


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One row of a sheet.

    Attributes:
        label: What the row shows.
        frames: 1 or 3 channels.
        marks: One letter per frame: K given, T filled, R true, - nothing there (the frame isn't
            drawn).
    """

    label: str
    frames: UInt8[np.ndarray, "f h w c"]
    marks: str

    def __post_init__(self) -> None:
        if len(self.marks) != len(self.frames):
            raise InputError(
                f"row {self.label!r} has {len(self.marks)} marks for {len(self.frames)} frames: "
                f"give one letter per frame"
            )
        if unknown := sorted(set(self.marks) - {*MARKS, EMPTY}):
            raise InputError(f"marks are K, T, R and -, but {self.marks!r} has {unknown}")
        if 0 in self.frames.shape or self.frames.shape[3] not in (1, 3):
            raise InputError(
                f"row {self.label!r} has frames of shape {self.frames.shape}: give some frames "
                f"with 1 or 3 channels"
            )


def contact_sheet(
    rows: Sequence[SheetRow], *, enlarge: int | None = None, columns: int = 20
) -> Image.Image:
    """Draw the rows below one another, frame by frame in columns.

    Args:
        rows: From top to bottom; they may differ in length and in frame size.
        enlarge: Draw each pixel that many times in both directions. None enlarges small frames by
            a whole factor, until they have 48 pixels, and reduces large ones to 160.
        columns: Frames per line; longer rows all go on below.

    Returns:
        The sheet in RGB.

    Raises:
        InputError: there are no rows, or the sheet would have more than 64 million pixels.
    """
    if not rows:
        raise InputError("a contact sheet needs at least one row")
    if columns < 1 or (enlarge is not None and enlarge < 1):
        raise InputError(f"columns={columns} and enlarge={enlarge} have to be 1 or more")
    layout = _layout(rows, enlarge, columns)
    sheet = Image.new("RGB", layout.size, "white")
    draw = ImageDraw.Draw(sheet)
    for line in range(layout.lines):
        _draw_numbers(draw, layout, line, max(len(row.frames) for row in rows))
        for index, row in enumerate(rows):
            if line * columns < len(row.frames):
                _draw_row(sheet, layout, line, index, row)
    _draw_legend(draw, layout, _legend(rows))
    return sheet


def save_sheet(path: Path | str, rows: Sequence[SheetRow], *, overwrite: bool = False) -> None:
    """Write a `contact_sheet` as a .png file.

    Raises:
        InputError: as for `contact_sheet`; or the path exists or has another suffix.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"contact sheets are .png files, but {path} isn't: choose another name")
    sheet = contact_sheet(rows)
    with replacing(path, overwrite=overwrite) as temporary:
        sheet.save(temporary, format="PNG")


@dataclass(frozen=True)
class _Layout:
    """Where things are, in pixels."""

    sizes: tuple[tuple[int, int], ...]  # (width, height) of the drawn frames, for each row
    cell: tuple[int, int]  # (width, height) that each frame takes
    label_width: int
    columns: int
    lines: int
    legend_width: int

    @property
    def line_height(self) -> int:
        return NUMBERS_HEIGHT + len(self.sizes) * self.cell[1]

    @property
    def size(self) -> tuple[int, int]:
        width = max(self.label_width + self.columns * self.cell[0] - GAP, self.legend_width)
        lines = self.lines * (self.line_height + LINE_GAP) - LINE_GAP
        return width + 2 * MARGIN, lines + LEGEND_HEIGHT + 2 * MARGIN

    def corner(self, column: int, line: int, row: int) -> tuple[int, int]:
        """The upper left corner of a cell."""
        x = MARGIN + self.label_width + column * self.cell[0]
        above = line * (self.line_height + LINE_GAP) + NUMBERS_HEIGHT
        return x, MARGIN + above + row * self.cell[1]


def _layout(rows: Sequence[SheetRow], enlarge: int | None, columns: int) -> _Layout:
    longest = max(len(row.frames) for row in rows)
    sizes = tuple(_drawn_size(row, enlarge) for row in rows)
    labels = [_label(row) for row in rows]
    text_height = max(label.count("\n") + 1 for label in labels) * (LABEL_SIZE + 4)
    text_width = max(_text_width(line) for label in labels for line in label.split("\n"))
    layout = _Layout(
        sizes=sizes,
        cell=(
            max(width for width, _ in sizes) + 2 * BORDER + GAP,
            max(text_height, *(height for _, height in sizes)) + 2 * BORDER + GAP,
        ),
        label_width=text_width + LABEL_GAP if text_width else 0,
        columns=min(columns, longest),
        lines=-(-longest // columns),
        legend_width=sum(_legend_widths(_legend(rows))),
    )
    width, height = layout.size
    if width * height > MOST_PIXELS:
        raise InputError(
            f"the contact sheet would have {width}x{height} pixels, above {MOST_PIXELS // 10**6} "
            f"million: show fewer frames or rows, or enlarge less"
        )
    return layout


def _drawn_size(row: SheetRow, enlarge: int | None) -> tuple[int, int]:
    height, width = row.frames.shape[1:3]
    longest = max(height, width)
    factor: float = enlarge or max(1, -(-SMALLEST // longest))
    if enlarge is None and longest > LARGEST:
        factor = LARGEST / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _draw_numbers(draw: ImageDraw.ImageDraw, layout: _Layout, line: int, frames: int) -> None:
    middle = (layout.cell[0] - GAP) // 2
    for column in range(min(layout.columns, frames - line * layout.columns)):
        x, y = layout.corner(column, line, 0)
        number = str(line * layout.columns + column)
        draw.text((x + middle, y - 4), number, PALE_INK, _font(NUMBER_SIZE), anchor="ms")


def _draw_row(sheet: Image.Image, layout: _Layout, line: int, index: int, row: SheetRow) -> None:
    draw = ImageDraw.Draw(sheet)
    _, y = layout.corner(0, line, index)
    middle = y + (layout.cell[1] - GAP) // 2
    draw.multiline_text((MARGIN, middle), _label(row), INK, _font(LABEL_SIZE), anchor="lm")
    first = line * layout.columns
    for column, mark in enumerate(row.marks[first : first + layout.columns]):
        left, top = layout.corner(column, line, index)
        width, height = (length + 2 * BORDER for length in layout.sizes[index])
        left += (layout.cell[0] - GAP - width) // 2
        top += (layout.cell[1] - GAP - height) // 2
        box = (left, top, left + width - 1, top + height - 1)
        if mark == EMPTY:
            draw.rectangle(box, fill=EMPTY_FILL, outline=EMPTY_LINE)
            continue
        draw.rectangle(box, fill=MARKS[mark][1])
        picture = _picture(row.frames[first + column], layout.sizes[index])
        sheet.paste(picture, (left + BORDER, top + BORDER))


def _picture(frame: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame)
    reduces = size[0] < image.width or size[1] < image.height
    return image.resize(size, Image.Resampling.LANCZOS if reduces else Image.Resampling.NEAREST)


def _draw_legend(draw: ImageDraw.ImageDraw, layout: _Layout, marks: Sequence[str]) -> None:
    x = MARGIN + (layout.label_width if layout.size[0] > layout.legend_width * 2 else 0)
    y = layout.size[1] - MARGIN - SQUARE
    for mark, width in zip(marks, _legend_widths(marks), strict=True):
        meaning, color = MARKS[mark]
        draw.rectangle((x, y, x + SQUARE - 1, y + SQUARE - 1), outline=color, width=BORDER)
        draw.text((x + SQUARE + 6, y + SQUARE // 2), meaning, INK, _font(LABEL_SIZE), anchor="lm")
        x += width


def _legend(rows: Sequence[SheetRow]) -> list[str]:
    return [mark for mark in MARKS if any(mark in row.marks for row in rows)]


def _legend_widths(marks: Sequence[str]) -> list[int]:
    return [SQUARE + 6 + _text_width(MARKS[mark][0]) + LABEL_GAP for mark in marks]


def _label(row: SheetRow) -> str:
    return "\n".join(textwrap.wrap(row.label, LABEL_LETTERS))


def _text_width(text: str) -> int:
    return round(_font(LABEL_SIZE).getlength(text))


@functools.cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
