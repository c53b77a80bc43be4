"""What a clip of any data set is."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

import numpy as np
from jaxtyping import Shaped

Split = Literal["train", "test"]


class Sample(TypedDict):
    """A clip and what goes with it; in datasets of the user's own, frames are enough."""

    frames: Shaped[np.ndarray, "f h w c"]  # in the user's units; NaN is missing
    label: NotRequired[int | None]  # number of its class
    conditions: NotRequired[Mapping[str, Shaped[np.ndarray, "..."]]]
