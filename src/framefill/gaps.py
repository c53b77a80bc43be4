"""Missing data: NaN where it comes in, a mask of what is valid from there on."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from framefill.roles import Role
from framefill.types import Clip, Roles, Valid
from framefill.windows import Window


def without_gaps(clip: Clip, roles: Roles) -> tuple[Clip, Roles, Valid | None]:
    """Return training clips with 0 for NaN, their missing frames ABSENT, and what is valid.

    A pixel counts as missing if any of its channels is. None: nothing is missing.
    """
    missing = clip.isnan()
    if not missing.any():
        return clip, roles, None
    valid = ~missing.any(dim=2, keepdim=True)
    there = valid.flatten(2).any(dim=2)
    roles = torch.where(there, roles, Role.ABSENT).to(roles.dtype)
    return torch.where(valid, clip, 0.0), roles, valid


def reach(video: Clip, known: Sequence[int]) -> Bool[Tensor, "b 1 1 h w"]:
    """Return the pixels that are there in any of the known frames; without such frames, all."""
    if not known:
        return torch.ones_like(video[:, :1, :1], dtype=torch.bool)
    return ~video[:, list(known)].isnan().any(dim=2, keepdim=True).all(dim=1, keepdim=True)


def valid_in(video: Clip, windows: Sequence[Window]) -> tuple[Clip, Valid | None]:
    """Return a video that is to be filled with 0 for NaN, and what is valid of it.

    Frames to be filled are valid wherever any known frame is: what no frame shows (beyond the reach
    of a radar) is not asked for. None: no known frame has a gap.

    Args:
        video: Its known frames are read.
        windows: Which frames are filled when, and from which.
    """
    filled = {frame for window in windows for frame in window.fills}
    known = sorted(
        {
            frame
            for window in windows
            for frame, letter in zip(window.frames, window.row, strict=True)
            if letter == "K" and frame not in filled
        }
    )
    if not known or not video[:, known].isnan().any():
        return video, None
    valid = ~video.isnan().any(dim=2, keepdim=True)
    valid[:, sorted(filled)] = reach(video, known)
    return video.nan_to_num(nan=0.0), valid
