"""LPIPS, a distance of pictures by the features of AlexNet, from weight files that the user has.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", in
its version 0.1, with frames prepared as in MCVD's evaluation (runners/ncsn_runner.py, video_gen).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.metrics.frames import to_bytes
from framefill.pickles import check_weights_by_name, load_pickle

SIDE = 128  # pixels
SHIFT = (-0.030, -0.088, -0.188)  # of red, green and blue in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
ALEXNET = "torchvision's AlexNet weights, alexnet-owt-7be5be79.pth"
HEADS = "the v0.1 linear weights of the lpips package, lpips/weights/v0.1/alex.pth"

Pictures = Float[Tensor, "b 3 128 128"]  # red, green and blue in [-1, 1]


class LpipsNetwork(nn.Module):
    """The convolutions of AlexNet, and one weight for each channel of their five outputs.

    The layers are those of torchvision's `features` (torchvision/models/alexnet.py), in its order.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
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
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, 1, 1, bias=False) for channels in (64, 192, 384, 256, 256)
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
        """Yield what AlexNet's five rectifiers give."""
        values = (pictures - self.shift) / self.scale
        for layer in self.features:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
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
    alexnet: Path | None, heads: Path | None, *, device: torch.device | None = None
) -> Lpips:
    """Return LPIPS with the weights of two files, .pth or .safetensors; nothing is downloaded.

    Args:
        alexnet: torchvision's weights of AlexNet, alexnet-owt-7be5be79.pth. Those of its
            classifier are not needed.
        heads: The linear weights of the lpips package's version 0.1, alex.pth.
        device: Where to compute; the CPU if None.

    Raises:
        InputError: a file is not given or can't be read, or has not these weights.
    """
    if alexnet is None or heads is None:
        raise InputError(f"LPIPS needs two files of weights: give {ALEXNET}, and {HEADS}")
    network = LpipsNetwork()
    _load(network.features, alexnet, lambda name: f"features.{name}", ALEXNET)
    _load(network.heads, heads, lambda name: "lin" + name.replace(".", ".model.1."), HEADS)
    return Lpips(network.eval().requires_grad_(False).to(device or torch.device("cpu")))


def _pictures(pixels: UInt8[np.ndarray, "b h w c"]) -> Pictures:
    """Resize frames with a linear filter, which takes in more pixels where frames shrink."""
    colors = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    resized = [
        Image.fromarray(np.ascontiguousarray(frame)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for frame in colors
    ]
    values = torch.from_numpy(np.stack([np.asarray(picture) for picture in resized]))
    return values.permute(0, 3, 1, 2) / 127.5 - 1


def _load(module: nn.Module, path: Path, official: Callable[[str], str], what: str) -> None:
    """Fill a module with the weights of a file, in which they have their `official` names."""
    weights = _read(path, what)
    names = {official(name): name for name in module.state_dict()}
    for name, ours in names.items():
        if name not in weights:
            raise InputError(f"{path} has no {name}: give {what}")
        shape, needed = tuple(weights[name].shape), tuple(module.state_dict()[ours].shape)
        if shape != needed:
            raise InputError(f"{path} has {name} of shape {shape}, not {needed}: give {what}")
    for name in weights:
        if name not in names and not name.startswith("classifier."):
            raise InputError(f"{path} has {name}, which is unknown: give {what}")
    module.load_state_dict({ours: weights[name] for name, ours in names.items()})


def _read(path: Path, what: str) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return check_weights_by_name(load_pickle(path, what), path, what)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} can't be read ({error}): give {what}") from error
