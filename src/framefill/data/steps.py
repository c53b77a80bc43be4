"""Even steps between the times of frames."""

import numpy as np
from jaxtyping import Shaped

from framefill.data.clock import seconds

UNEVEN = 1e-3  # of a step, by which even steps may differ


def even_step(times: Shaped[np.ndarray, " f"] | None) -> float | None:
    """Return the seconds between two frames; None if they differ by more than a thousandth."""
    if times is None or len(times) < 2:
        return None
    steps = np.diff(seconds(times))
    step = float(np.median(steps))
    return step if np.ptp(steps) <= UNEVEN * abs(step) else None
