"""Videos of any length, window by window, as planned."""

from collections.abc import Callable, Iterator, Sequence

import torch

from framefill.roles import roles_from
from framefill.types import Clip, Roles
from framefill.windows import Window


def rollout(
    fill_window: Callable[[Clip, Roles, Window], Clip], video: Clip, windows: Sequence[Window]
) -> Iterator[Clip]:
    """Fill a video window by window.

    Args:
        fill_window: Fills the TARGET frames of a clip [b f c h w], given roles [b f] and which
            frames of the video they are.
        video: Its frames that no window fills are read, and returned as they are.
        windows: From `plan`.

    Yields:
        The video after each window; frames not yet filled are zero.
    """
    total = video.shape[1]
    hidden = torch.zeros(total, dtype=torch.bool)
    hidden[[frame for window in windows for frame in window.fills]] = True
    video = video.masked_fill(hidden[:, None, None, None].to(video.device), 0.0)
    for window in windows:
        places = torch.tensor(window.frames).clamp(0, total - 1).to(video.device)
        roles = roles_from(window.row).expand(len(video), -1).to(video.device)
        filled = fill_window(video[:, places], roles, window)
        for frame in window.fills:
            video[:, frame] = filled[:, window.frames.index(frame)]
        yield video
