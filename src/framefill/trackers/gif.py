"""Videos as animated GIF files, which every tracker can show."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import UInt8

from framefill.data.write import write

SLOWEST, FASTEST = 0.01, 50.0  # frames per second that a GIF can show


def gif(frames: UInt8[np.ndarray, "f h w 3"], fps: float) -> bytes:
    """Return an animated GIF of all frames, equal ones too.

    Args:
        frames: RGB.
        fps: Frames per second; what is above 50 is shown at 50, the most that a GIF can.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.gif"
        write(path, frames, fps=min(max(fps, SLOWEST), FASTEST))
        return path.read_bytes()
