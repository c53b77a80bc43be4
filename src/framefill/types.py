"""The shapes that travel between modules.

Axes: b clips, f frames, c channels, h rows, w columns.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int8
from torch import Tensor

Clip = Float[Tensor, "b f c h w"]  # model range, as the model's normaliser defines it
Roles = Int8[Tensor, "b f"]  # one `framefill.roles.Role` per frame
Levels = Float[Tensor, "b f"]  # noise level of each frame in the units of the schedule, 0 = clean
Valid = Bool[Tensor, "b f 1 h w"]  # false where the data is missing


@runtime_checkable
class Denoiser(Protocol):
    """Anything that turns a canvas into a prediction.

    A canvas holds clean KNOWN frames, noisy TARGET frames and zeros for ABSENT ones.
    """

    def __call__(
        self, canvas: Clip, labels: Float[Tensor, "b f"], roles: Roles
    ) -> Float[Tensor, "b f out h w"]:
        """Return a prediction for every frame; only TARGET frames are meaningful.

        Args:
            canvas: The frames that the network sees.
            labels: What the network is told of each frame's noise level
                (`framefill.diffusion.Diffusion.labels`).
            roles: What each frame is to the model.
        """
        ...


@runtime_checkable
class Preparable(Protocol):
    """A denoiser with work that only KNOWN frames and roles decide: once per walk is enough."""

    def prepare(self, canvas: Clip, roles: Roles) -> Denoiser:
        """Return a denoiser for clips with these KNOWN frames and roles, and no others."""
        ...
