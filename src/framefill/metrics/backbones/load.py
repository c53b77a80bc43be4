"""From a file of weights to the features of videos."""

import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor, nn

from framefill.errors import InputError
from framefill.metrics.backbones import c3d, i3d, videomae
from framefill.metrics.backbones.files import WeightFile, identify
from framefill.metrics.backbones.pictures import (
    Resize,
    check_videos,
    to_byte_pictures,
    to_pictures,
)
from framefill.metrics.backbones.state import State, read_state

BackboneKind = Literal["i3d", "c3d", "videomae"]

Network = Callable[[Shaped[Tensor, "n 3 f y x"]], Float[Tensor, "n d"]]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that gives each video a vector of numbers.

    Args:
        name: "i3d" (logits), "c3d" (probabilities of classes) or "videomae" (features).
        file: Where the weights are from.
        dims: How many numbers there are for each video.
        frames: The least number of frames that it takes.
        exact: It takes exactly as many.
        side: Pixels a side of the pictures that it takes, with values in 0..1; None for one that
            takes bytes of any size.
        network: From pictures to features, in float32.
        device: Where the network computes.
        batch: How many videos are computed at once.
    """

    name: BackboneKind
    file: WeightFile
    dims: int
    frames: int
    exact: bool
    side: int | None
    network: Network
    device: torch.device
    batch: int = 4

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch {self.batch}: features are of at least 1 video at once")

    def __call__(
        self,
        videos: Shaped[np.ndarray, "n f h w c"],
        *,
        data_range: float,
        resize: Resize = "bilinear",
    ) -> Float32[np.ndarray, "n d"]:
        """Return the features of each video.

        Args:
            videos: Values from 0 (black) to `data_range` (white), of 1 channel or of red, green,
                blue. Floating-point values are not rounded to bytes, unless the network takes
                bytes.
            data_range: The value of white.
            resize: How frames get the size that the network takes (`to_pictures`). One that takes
                bytes of any size has its own way, whatever is said here.

        Raises:
            InputError: there are too few or too many frames, or the values are no pictures
                (`check_videos`).
        """
        check_videos(videos, data_range=data_range)
        self.check_frames(videos.shape[1])
        features = np.empty((len(videos), self.dims), np.float32)
        for start in range(0, len(videos), self.batch):
            part = slice(start, start + self.batch)
            features[part] = self._features(videos[part], data_range, resize)
        return features

    def check_frames(self, frames: int) -> None:
        """Refuse a number of frames that the network can't take.

        Raises:
            InputError: it is too small, or for some networks another one than they take.
        """
        if self.exact and frames != self.frames:
            raise InputError(
                f"videos of {frames} frames: {self.name} takes exactly {self.frames}, so cut the "
                "videos to as many or leave this metric out"
            )
        if frames < self.frames:
            raise InputError(
                f"videos of {frames} frames: {self.name} takes at least {self.frames}, so give "
                "longer ones or leave this metric out"
            )

    @torch.inference_mode()
    def _features(
        self, videos: Shaped[np.ndarray, "n f h w c"], data_range: float, resize: Resize
    ) -> Float32[np.ndarray, "n d"]:
        if self.side is None:
            pictures = to_byte_pictures(videos, data_range=data_range)
        else:
            pictures = to_pictures(videos, data_range=data_range, side=self.side, resize=resize)
        return self.network(pictures.to(self.device)).float().cpu().numpy()


@dataclass(frozen=True)
class _Format:
    """How the weights of a network are read, and what it is fed."""

    what: str  # should have been given
    build: Callable[[State], nn.Module]
    last: str  # weight, whose first axis is as long as the features
    prepare: Callable[[Tensor], Tensor]
    side: int
    frames: int
    exact: bool


FORMATS: dict[BackboneKind, _Format] = {
    "i3d": _Format(
        what="I3D's weights, such as i3d_pretrained_400.pt or i3d_torchscript.pt",
        build=i3d.build,
        last="logits.conv3d.weight",
        prepare=i3d.prepare,
        side=i3d.SIDE,
        frames=i3d.LEAST_FRAMES,
        exact=False,
    ),
    "c3d": _Format(
        what="C3D's weights, c3d_ucf101.pt, or named conv1.weight to fc8.bias",
        build=c3d.build,
        last="fc8.weight",
        prepare=c3d.prepare,
        side=c3d.SIDE,
        frames=c3d.FRAMES,
        exact=True,
    ),
    "videomae": _Format(
        what="the weights of a fine-tuned VideoMAE, vit_g_hybrid_pt_1200e_ssv2_ft.pth, by name",
        build=videomae.build,
        last="fc_norm.weight",
        prepare=videomae.prepare,
        side=videomae.SIDE,
        frames=videomae.FRAMES,
        exact=True,
    ),
}


def load_backbone(
    kind: BackboneKind,
    path: Path,
    *,
    device: torch.device | None = None,
    trust: bool = False,
    batch: int = 4,
) -> Backbone:
    """Return the network of a file: weights by name (.pt, .pth, .safetensors) or TorchScript.

    Args:
        kind: Which network it is.
        path: The file. The widths of the network are read from it.
        device: Where to compute; the CPU if None.
        trust: Load a TorchScript file even if it is not one that we know. Such a file is a
            program, which may do as it likes.
        batch: How many videos are computed at once.

    Raises:
        InputError: the file is missing, damaged or of another network, or an unknown program.
    """
    file, form, place = identify(kind, path), FORMATS[kind], device or torch.device("cpu")
    if is_torchscript(path):
        _check_trust(file, trust)
        return _from_script(kind, file, form, place, batch)
    state = read_state(path, form.what)
    module = form.build(state).eval().requires_grad_(False).to(place)
    return Backbone(
        name=kind,
        file=file,
        dims=state.weights[form.last].shape[0],
        frames=form.frames,
        exact=form.exact,
        side=form.side,
        network=lambda pictures: module(form.prepare(pictures)),
        device=place,
        batch=batch,
    )


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive, which holds code beside its weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.partition("/")[2] == "constants.pkl" for name in names)


def _check_trust(file: WeightFile, trust: bool) -> None:
    """Refuse a program that could be anybody's."""
    if not (trust or file.known):
        raise InputError(
            f"{file.path} is a TorchScript file, thus a program, and none that we know (SHA-256 "
            f"{file.sha256}): pass --trust if you know where it is from, or give the network's "
            "weights by name"
        )


def _from_script(
    kind: BackboneKind, file: WeightFile, form: _Format, device: torch.device, batch: int
) -> Backbone:
    """Return the network of a program, which is tried once."""
    if kind == "videomae":
        raise InputError(f"{file.path} is a TorchScript file: give {form.what}")
    script = _load_script(file.path, form.what, device)

    def call_i3d(pictures: Tensor) -> Tensor:
        """As MCVD does, with what is ready (models/fvd/fvd.py, get_feats)."""
        return script(form.prepare(pictures), rescale=False, resize=False, return_features=True)

    # StyleGAN-V's C3D is given bytes of any size (metric_utils.py).
    frames = i3d.LEAST_FRAMES_SCRIPT if kind == "i3d" else form.frames
    side, network = (form.side, call_i3d) if kind == "i3d" else (None, script)
    black = torch.zeros(1, 3, frames, form.side, form.side, device=device)
    return Backbone(
        name=kind,
        file=file,
        dims=_try(network, black if side else black.byte(), file.path, form.what),
        frames=frames,
        exact=form.exact,
        side=side,
        network=network,
        device=device,
        batch=batch,
    )


def _load_script(path: Path, what: str, device: torch.device) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # The files that published numbers were made with are of this kind.
            warnings.filterwarnings("ignore", r"`torch\.jit\.load` is", DeprecationWarning)
            script: nn.Module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise InputError(f"{path} can't be read ({reason}): give {what}") from error
    return script.eval()


@torch.inference_mode()
def _try(network: Network, video: Tensor, path: Path, what: str) -> int:
    """Return how many numbers a program gives for a video."""
    try:
        features = network(video)
    except RuntimeError as error:
        reason = next(reversed(str(error).splitlines()), type(error).__name__)[:120]
        raise InputError(f"{path} can't be called ({reason}): give {what}") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 1:
        raise InputError(f"{path} gives no vector of numbers for a video: give {what}")
    return features.shape[1]
