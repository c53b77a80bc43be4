"""Several ways in which clips were filled, side by side: in a video, or on a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from framefill.data.sheet import BORDER, GAP, INK, LARGEST, MARKS, SheetRow

SMALLEST = 64  # height of a frame in a video, in pixels, unless that makes it too wide
TEXT_SIZE, TEXT_HEIGHT = 12, 18
SHEET_FRAMES, VIDEO_FRAMES = 40, 256  # of longer clips some frames are shown


@dataclass(frozen=True, eq=False)
class Panel:
    """One way in which some clips are shown: rows of a sheet, a column of a video.

    Attributes:
        title: What it shows.
        pixels: The clips.
        marks: One letter per frame, those of `framefill.data.sheet.SheetRow`.
        notes: A few words on each clip.
    """

    title: str
    pixels: UInt8[np.ndarray, "n f h w c"]
    marks: str
    notes: tuple[str, ...]


def sheet_rows(panels: Sequence[Panel], remark: str = "") -> list[SheetRow]:
    """Return the rows of a contact sheet: clip by clip, all panels below one another.

    Args:
        panels: Of the same clips; of those longer than 40 frames every second (third, ...) is
            shown, and the first label says so.
        remark: Added to the first label of each clip.
    """
    every, remarks = _thinned(panels, remark, SHEET_FRAMES)
    return [
        SheetRow(
            ", ".join(filter(None, (panel.title, panel.notes[clip], *remarks * (place == 0)))),
            panel.pixels[clip, ::every],
            panel.marks[::every],
        )
        for clip in range(len(panels[0].pixels))
        for place, panel in enumerate(panels)
    ]


def comparison_video(panels: Sequence[Panel], remark: str = "") -> UInt8[np.ndarray, "f h w 3"]:
    """Draw panels side by side, their clips below one another.

    Frames have borders in the colors of the contact sheet. Small ones are enlarged by a whole
    factor until they are 64 pixels high, large ones reduced to 160.

    Args:
        panels: Of the same clips; of those longer than 256 frames every second (third, ...) is
            shown, and the last line says so.
        remark: Written below.

    Returns:
        Frames in RGB whose height and width are even, as browsers want them.
    """
    every, remarks = _thinned(panels, remark, VIDEO_FRAMES)
    size = _drawn_size(*panels[0].pixels.shape[2:4])
    titles = max(_text_width(panel.title) for panel in panels)
    step_x, step_y = (length + 2 * BORDER + GAP for length in (max(size[0], titles), size[1]))
    below = ", ".join(remarks)
    width = GAP + max(step_x * len(panels), _text_width(below) + GAP)
    bottom = TEXT_HEIGHT + step_y * len(panels[0].pixels)
    height = bottom + (TEXT_HEIGHT if below else GAP)
    page = Image.new("RGB", (width + width % 2, height + height % 2), "white")
    draw = ImageDraw.Draw(page)
    for column, panel in enumerate(panels):
        draw.text((GAP + column * step_x, 1), panel.title, INK, _font())
    draw.text((GAP, bottom - GAP), below, INK, _font())
    marks = panels[0].marks[::every]
    video = np.repeat(np.asarray(page)[None], len(marks), axis=0)
    for column, panel in enumerate(panels):
        for clip, pixels in enumerate(panel.pixels):
            x, y = GAP + column * step_x, TEXT_HEIGHT + clip * step_y
            for number, mark in enumerate(panel.marks[::every]):
                drawn = _bordered(pixels[number * every], size, mark)
                video[number, y : y + drawn.shape[0], x : x + drawn.shape[1]] = drawn
    return video


def _thinned(panels: Sequence[Panel], remark: str, most: int) -> tuple[int, list[str]]:
    """Return of how many frames one is shown, and all that has to be said."""
    every = -(-len(panels[0].marks) // most)
    return every, [*filter(None, (remark, f"1 frame in {every}" if every > 1 else ""))]


def _drawn_size(height: int, width: int) -> tuple[int, int]:
    """Return the width and the height at which a frame is drawn."""
    longest = max(height, width)
    if longest > LARGEST:
        return max(1, width * LARGEST // longest), max(1, height * LARGEST // longest)
    factor = max(1, min(-(-SMALLEST // height), LARGEST // longest))
    return width * factor, height * factor


def _bordered(
    frame: UInt8[np.ndarray, "h w c"], size: tuple[int, int], mark: str
) -> UInt8[np.ndarray, "y x 3"]:
    image = Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).convert("RGB")
    reduces = size[0] < image.width
    method = Image.Resampling.LANCZOS if reduces else Image.Resampling.NEAREST
    return np.asarray(ImageOps.expand(image.resize(size, method), BORDER, MARKS[mark][1]))


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(TEXT_SIZE)


def _text_width(text: str) -> int:
    return round(_font().getlength(text))
