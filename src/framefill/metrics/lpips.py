"""LPIPS, a distance of pictures by the features of a network, from weight files that the user has.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", in
its version 0.1, on AlexNet or VGG16, with frames prepared as in MCVD's evaluation
(runners/ncsn_runner.py, video_gen), which uses AlexNet.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped, UInt8
from PIL import Image
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.metrics.backbones.state import read_state
from framefill.metrics.frames import to_bytes

LpipsName = Literal["alex", "vgg"]

SIDE = 128  # pixels
SHIFT = (-0.030, -0.088, -0.188)  # of red, green and blue in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
# The channels of the five outputs that are compared, by the place of their rectifiers in
# torchvision's list of layers.
OUTPUTS: dict[LpipsName, dict[int, int]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
}
# Of VGG16, the convolutions between two places where sides are halved.
VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
BACKBONES: dict[LpipsName, str] = {
    "alex": "torchvision's AlexNet weights, alexnet-owt-7be5be79.pth",
    "vgg": "torchvision's VGG16 weights, vgg16-397923af.pth",
}
HEADS: dict[LpipsName, str] = {
    name: f"the v0.1 linear weights of the lpips package, lpips/weights/v0.1/{name}.pth"
    for name in BACKBONES
}

Pictures = Float[Tensor, "b 3 y x"]  # red, green and blue in [-1, 1]


class LpipsNetwork(nn.Module):
    """The convolutions of a network, and one weight for each channel of five of their outputs.

    The layers are those of torchvision's `features` (torchvision/models/alexnet.py and vgg.py), in
    its order.

    Args:
        name: "alex" (AlexNet) or "vgg" (VGG16).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, name: LpipsName = "alex") -> None:
        super().__init__()
        self.name = name
        self.features = _alexnet() if name == "alex" else _vgg16()
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, 1, 1, bias=False) for channels in OUTPUTS[name].values()
        )
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def forward(self, one: Pictures, other: Pictures) -> Float[Tensor, " b"]:
        """Return the distance of each pair of pictures (Zhang et al. 2018, Equation 1)."""
        total = torch.zeros(len(one), device=one.device)
        outputs = self._outputs(torch.cat([one, other]))
        for head, output in zip(self.heads, outputs, strict=True):
            unit = output / (output.norm(dim=1, keepdim=True) + 1e-10)
            first, second = unit.chunk(2)
            total = total + head((first - second) ** 2).mean(dim=(1, 2, 3))
        return total

    def _outputs(self, pictures: Pictures) -> Iterator[Float[Tensor, "b c y x"]]:
        """Yield what the five rectifiers give."""
        values = (pictures - self.shift) / self.scale
        for place, layer in enumerate(self.features):
            values = layer(values)
            if place in OUTPUTS[self.name]:
                yield values


@dataclass(frozen=True, eq=False)
class Lpips:
    """The distance of frames, one number each; 0 for equal ones.

    Args:
        network: With its weights, on the device to compute on.
        batch: How many pairs of frames are computed at once.
    """

    network: LpipsNetwork
    batch: int = 32

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(
                f"batch {self.batch}: LPIPS computes at least 1 pair of frames at once"
            )

    @property
    def name(self) -> LpipsName:
        """The network whose features are compared."""
        return self.network.name

    def __call__(
        self,
        truth: Shaped[np.ndarray, "*b f h w c"],
        frames: Shaped[np.ndarray, "*b f h w c"],
        *,
        data_range: float,
    ) -> Float64[np.ndarray, "*b f"]:
        """Return the distance of each frame from the true one, both at 128 x 128 pixels.

        Args:
            truth: Values from 0 (black) to `data_range` (white), of 1 channel or of red, green,
                blue.
            frames: The frames to score, as the truth.
            data_range: The value of white.

        Raises:
            InputError: there are neither 1 nor 3 channels, or values outside 0..`data_range`.
        """
        if truth.shape[-1] not in (1, 3):
            raise InputError(f"LPIPS is of 1 or 3 channels, not {truth.shape[-1]}: leave it out")
        one, other = (values.reshape(-1, *values.shape[-3:]) for values in (truth, frames))
        distances = np.zeros(len(one))
        for start in range(0, len(one), self.batch):
            part = slice(start, start + self.batch)
            pair = [_pictures(to_bytes(v[part], data_range=data_range)) for v in (one, other)]
            distances[part] = self._distances(*pair)
        return distances.reshape(truth.shape[:-3])

    @torch.no_grad()
    def _distances(self, one: Pictures, other: Pictures) -> Float64[np.ndarray, " b"]:
        device = next(self.network.parameters()).device
        return self.network(one.to(device), other.to(device)).cpu().double().numpy()


def load_lpips(
    backbone: Path | None, heads: Path | None, *, device: torch.device | None = None
) -> Lpips:
    """Return LPIPS with the weights of two files, .pth or .safetensors; nothing is downloaded.

    Args:
        backbone: torchvision's weights of AlexNet, alexnet-owt-7be5be79.pth, or of VGG16,
            vgg16-397923af.pth; its shapes tell which. Those of the classifier are not needed.
        heads: The linear weights for it of the lpips package's version 0.1, alex.pth or vgg.pth.
        device: Where to compute; the CPU if None.

    Raises:
        InputError: a file is not given or can't be read, or has not these weights.
    """
    either = " or ".join(BACKBONES.values())
    if backbone is None or heads is None:
        raise InputError(
            f"LPIPS needs two files of weights: give {either}, and {HEADS['alex']} or vgg.pth"
        )
    state = read_state(backbone, either)
    side = state.shape("features.0.weight", 4)[-1]
    name: LpipsName = "vgg" if side == 3 else "alex"
    network = LpipsNetwork(name)
    replace(state, what=BACKBONES[name]).fill(
        network.features, official=lambda place: f"features.{place}", unused=("classifier.",)
    )
    read_state(heads, HEADS[name]).fill(
        network.heads, official=lambda place: "lin" + place.replace(".", ".model.1.")
    )
    return Lpips(network.eval().requires_grad_(False).to(device or torch.device("cpu")))


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in VGG_BLOCKS:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1])  # nothing is compared after the last maxima


def _pictures(pixels: UInt8[np.ndarray, "b h w c"]) -> Float[Tensor, "b 3 128 128"]:
    """Resize frames with a linear filter, which takes in more pixels where frames shrink."""
    colors = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    resized = [
        Image.fromarray(np.ascontiguousarray(frame)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for frame in colors
    ]
    values = torch.from_numpy(np.stack([np.asarray(picture) for picture in resized]))
    return values.permute(0, 3, 1, 2) / 127.5 - 1
