"""Long videos as RaMViD's script makes them, window after window (scripts/long_sampling.py)."""

import re

from framefill.errors import InputError
from framefill.masks import MAX_FRAMES
from framefill.windows import Window


def slide(row: str, *, advance: int, context: int) -> list[Window]:
    """Plan a prediction of any length.

    The first window has all given frames and `advance` new ones, each later one the last
    `context` frames, or all if there are fewer, and `advance` new ones. Windows are as long as
    that makes them, whatever the length of the clips in training was. Frames of the last window
    beyond the video are filled, as there, and dropped.

    Args:
        row: The roles of the video's frames: K given, if any, then T to be filled in.
        advance: New frames of each window.
        context: Most frames that a window after the first is given.

    Raises:
        InputError: the row is no prediction, a number is below 1, or a window would be too long.

    >>> [window.row for window in slide("KTTTTT", advance=2, context=1)]
    ['KTT', 'KTT', 'KTT']
    """
    if advance < 1 or context < 1:
        raise InputError(f"advance {advance} and slide {context} must be at least 1")
    if advance + max(context, row.count("K")) > MAX_FRAMES:
        raise InputError(
            f"windows of {row.count('K')} given frames, advance {advance} and slide {context}: at "
            f"most {MAX_FRAMES} frames in one"
        )
    match = re.fullmatch("(K*)T+", row)
    if match is None:
        raise InputError(f"sliding fills frames after given ones, not {row[:60]}: leave out slide")
    windows, end, known = [], len(match[1]), len(match[1])
    while end < len(row):
        frames = tuple(range(end - known, end + advance))
        windows.append(
            Window(
                frames, "K" * known + "T" * advance, tuple(range(end, min(end + advance, len(row))))
            )
        )
        end += advance
        known = min(context, len(frames))
    return windows
